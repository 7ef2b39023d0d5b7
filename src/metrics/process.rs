//! What the process uses, under the names that all client libraries of Prometheus give it.

use std::{fs, str::FromStr};

use super::family::{Family, number};

/// What the kernel tells in `/proc` (see proc(5)); nothing where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
}

pub(super) const FAMILIES: [Family<Usage>; 6] = [
    Family::counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        |samples, usage| {
            usage.cpu_seconds.into_iter().for_each(|value| samples.add(&[], value));
        },
    ),
    Family::gauge("process_open_fds", "Number of open file descriptors.", |samples, usage| {
        usage.open_files.into_iter().for_each(|value| samples.add(&[], value));
    }),
    Family::gauge("process_max_fds", "Maximum number of open file descriptors.", |samples, usage| {
        usage.most_files.into_iter().for_each(|value| samples.add(&[], value));
    }),
    Family::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", |samples, usage| {
        usage.virtual_bytes.into_iter().for_each(|value| samples.add(&[], value));
    }),
    Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.", |samples, usage| {
        usage.resident_bytes.into_iter().for_each(|value| samples.add(&[], value));
    }),
    Family::gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        |samples, usage| usage.start_seconds.into_iter().for_each(|value| samples.add(&[], value)),
    ),
];

impl Usage {
    /// As it is now.
    pub(super) fn read() -> Self {
        let text = |file| fs::read_to_string(file).unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|files| number(files.count()));
        Self { open_files, ..Self::of(&text("/proc/self/stat"), &text("/proc/stat"), &text("/proc/self/limits")) }
    }

    fn of(own: &str, machine: &str, limits: &str) -> Self {
        // The name of the program, in brackets, may hold anything; what follows is numbered from the third field on.
        let fields: Vec<&str> = own.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| number_in(fields.get(number - 3).copied());
        #[allow(clippy::cast_precision_loss)]
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let booted = machine.lines().find_map(|line| line.strip_prefix("btime "));
        let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks),
            start_seconds: field(22).zip(number_in(booted)).map(|(after, booted)| booted + after / ticks),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * number(rustix::param::page_size())),
            open_files: None,
            most_files: number_in(most.and_then(|most| most.split_whitespace().next())),
        }
    }
}

fn number_in(text: Option<&str>) -> Option<f64> {
    f64::from_str(text?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let own =
            "42 (a b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1000 8192000 25 18446744073709551615 1";
        let machine = "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096      files\n";
        #[allow(clippy::cast_precision_loss)]
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let expected = Usage {
            cpu_seconds: Some(300.0 / ticks),
            start_seconds: Some(1_700_000_000.0 + 1000.0 / ticks),
            virtual_bytes: Some(8_192_000.0),
            resident_bytes: Some(25.0 * number(rustix::param::page_size())),
            open_files: None,
            most_files: Some(1024.0),
        };
        assert_eq!(Usage::of(own, machine, limits), expected);
        assert_eq!(Usage::of("", "", ""), Usage::default());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::read();
        assert!(usage.resident_bytes > Some(100_000.0) && usage.open_files > Some(2.0), "{usage:?}");
    }
}
