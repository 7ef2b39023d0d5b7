//! What the environment says about traces.

/// Where everything is sent, and where traces are.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// A variable of the process, if it is there and not empty.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether traces are to be sent somewhere. Without an address they are not: nobody listens on OTLP's default one in a pod.
pub(super) fn is_asked_for(variable: &impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, word: &str| variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word));
    let has_address = ENDPOINTS.iter().any(|name| variable(name).is_some());
    has_address && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

#[cfg(feature = "otlp")]
pub(super) use details::Settings;

#[cfg(feature = "otlp")]
mod details {
    use std::{path::PathBuf, time::Duration};

    use opentelemetry_sdk::trace::{ParentBasedSampler, Sampler, ShouldSample};

    /// OpenTelemetry's limit for one request with all its repetitions.
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// No request takes longer, whatever the environment says.
    const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

    /// OpenTelemetry's number of spans that wait for being sent.
    const QUEUE: usize = 2048;

    /// Never more wait. A span takes about a kilobyte.
    const LARGEST_QUEUE: usize = 1 << 16;

    /// See the module's description. The addresses, headers, batches and the resource's attributes are read by OpenTelemetry's
    /// libraries.
    #[derive(Debug)]
    pub(in crate::otlp) struct Settings {
        pub(in crate::otlp) sampler: Box<dyn ShouldSample>,
        pub(in crate::otlp) timeout: Duration,
        pub(in crate::otlp) queue: usize,
        /// PEM certificates that are trusted in place of the system's.
        pub(in crate::otlp) ca: Option<PathBuf>,
    }

    impl Settings {
        /// # Errors
        /// What cannot be done as the environment says.
        pub(in crate::otlp) fn read(variable: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
            if let Some(exporter) = variable("OTEL_TRACES_EXPORTER").filter(|exporter| exporter.trim() != "otlp") {
                return Err(format!("OTEL_TRACES_EXPORTER {exporter:?} is none that there is here; take otlp or none"));
            }
            let of_traces = |name: &str| {
                let special = name.replacen("OTLP_", "OTLP_TRACES_", 1);
                variable(&special).map(|value| (special, value)).or_else(|| Some((name.to_owned(), variable(name)?)))
            };
            if let Some((name, protocol)) = of_traces("OTEL_EXPORTER_OTLP_PROTOCOL")
                && protocol.trim() != "http/protobuf"
            {
                let help = "only http/protobuf is spoken here, for which collectors listen on port 4318";
                return Err(format!("{name} is {protocol:?}; {help}"));
            }
            for name in ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] {
                if let Some((name, _)) = of_traces(name) {
                    return Err(format!("{name} is set, but there are no client certificates here"));
                }
            }
            let timeout = match of_traces("OTEL_EXPORTER_OTLP_TIMEOUT") {
                Some((name, value)) => Duration::from_millis(number(&name, &value)?),
                None => TIMEOUT,
            };
            let queue = match variable("OTEL_BSP_MAX_QUEUE_SIZE") {
                Some(value) => usize::try_from(number("OTEL_BSP_MAX_QUEUE_SIZE", &value)?).unwrap_or(LARGEST_QUEUE),
                None => QUEUE,
            };
            Ok(Self {
                sampler: sampler(variable)?,
                timeout: timeout.min(LONGEST_TIMEOUT),
                queue: queue.min(LARGEST_QUEUE),
                ca: of_traces("OTEL_EXPORTER_OTLP_CERTIFICATE").map(|(_, path)| path.into()),
            })
        }
    }

    fn number(name: &str, value: &str) -> Result<u64, String> {
        match value.trim().parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(format!("{name} {value:?} is no number above 0")),
        }
    }

    /// The span of an issuance counts as one of another process, since it may well be. Its flag says nothing: each pass is
    /// judged by the id of the trace, so that all of them are kept or none.
    fn sampler(variable: &impl Fn(&str) -> Option<String>) -> Result<Box<dyn ShouldSample>, String> {
        let name = variable("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
        let name = name.trim();
        let (is_by_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio(variable("OTEL_TRACES_SAMPLER_ARG").as_deref())?),
            _ => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER {name:?} is none of always_on, always_off, traceidratio, also with parentbased_ before"
                ));
            }
        };
        if !is_by_parent {
            return Ok(Box::new(root));
        }
        Ok(Box::new(ParentBasedSampler::new(root.clone()).with_remote_parent_sampled(root)))
    }

    fn ratio(value: Option<&str>) -> Result<f64, String> {
        let ratio = value.map_or(Ok(1.0), |value| value.trim().parse());
        match ratio {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(format!("OTEL_TRACES_SAMPLER_ARG {:?} is no number from 0 to 1", value.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + use<'a> {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn traces_want_an_address() {
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(!is_asked_for(&variables(&[])));
        assert!(is_asked_for(&variables(&[address])));
        assert!(is_asked_for(&variables(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")])));
        assert!(!is_asked_for(&variables(&[address, ("OTEL_SDK_DISABLED", "True")])));
        assert!(!is_asked_for(&variables(&[address, ("OTEL_TRACES_EXPORTER", "none")])));
    }

    #[cfg(feature = "otlp")]
    mod details {
        use std::time::Duration;

        use super::{super::Settings, variables};

        fn refused(set: &[(&str, &str)]) -> String {
            Settings::read(&variables(set)).map(|_| ()).expect_err("it should be refused")
        }

        #[test]
        fn what_is_not_set_is_as_opentelemetry_has_it() {
            let settings = Settings::read(&variables(&[])).expect("the defaults");
            assert_eq!((settings.timeout, settings.queue, settings.ca), (Duration::from_secs(10), 2048, None));
        }

        #[test]
        fn what_is_for_traces_goes_before() {
            let set = [("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000")];
            assert_eq!(Settings::read(&variables(&set)).map(|read| read.timeout), Ok(Duration::from_secs(2)));
        }

        #[test]
        fn nothing_is_without_bounds() {
            let set = [("OTEL_EXPORTER_OTLP_TIMEOUT", "999999999"), ("OTEL_BSP_MAX_QUEUE_SIZE", "999999999")];
            let settings = Settings::read(&variables(&set)).expect("they are numbers");
            assert_eq!((settings.timeout, settings.queue), (Duration::from_mins(1), 1 << 16));
        }

        #[test]
        fn what_there_is_not_is_refused_by_name() {
            assert!(refused(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).contains("OTEL_EXPORTER_OTLP_PROTOCOL"));
            assert!(refused(&[("OTEL_TRACES_EXPORTER", "zipkin")]).contains("zipkin"));
            assert!(refused(&[("OTEL_TRACES_SAMPLER", "xray")]).contains("xray"));
            assert!(refused(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]).contains("soon"));
            assert!(refused(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key")]).contains("CLIENT_KEY"));
            let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "10%")];
            assert!(refused(&ratio).contains("10%"));
        }
    }
}
