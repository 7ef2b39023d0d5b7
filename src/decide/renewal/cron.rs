//! Cron expressions of five fields, with the meaning that Go's `robfig/cron` gives them.
//!
//! A schedule is a set of minutes on the wall clock. A minute that summer time leaves out does not happen, and one that
//! occurs twice happens twice.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::api::GoDuration;

/// The longest way to a minute that matches: from one 29 February to the next.
const LONGEST_SEARCH_DAYS: i32 = 4 * 366;

/// More than any clock is set back by.
const LONGEST_REPETITION: SignedDuration = SignedDuration::from_hours(3);

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const DESCRIPTORS: [(&str, &str); 7] = [
    ("@annually", "0 0 1 1 *"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@midnight", "0 0 * * *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@yearly", "0 0 1 1 *"),
];

/// A parsed cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: Field,
    hours: Field,
    days_of_month: Field,
    months: Field,
    days_of_week: Field,
}

/// Why a cron expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("it has {0} fields; minute, hour, day of month, month and day of week are needed")]
    Fields(usize),
    #[error("\"{0}\" is not known; @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually are")]
    Descriptor(String),
    #[error("@every counts from no certain time; write the minutes at which a window opens: {0}")]
    Every(String),
    #[error("the time zone has a field of its own; write cron: \"{cron}\" and timezone: \"{zone}\"")]
    TimeZone { cron: String, zone: String },
    #[error("\"{text}\" is not {what}, which is a number from {min} to {max}, a range such as {min}-{max}, or *")]
    Value { what: &'static str, text: String, min: u8, max: u8 },
    #[error("the step of \"{0}\" is not a number above 0")]
    Step(String),
}

impl Schedule {
    /// Reads five fields, or a word such as `@daily`.
    ///
    /// # Errors
    /// [`CronError`] with the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every") {
            return Err(CronError::Every(instead_of_every(period.trim())));
        }
        if text.starts_with('@') {
            let known = DESCRIPTORS.iter().find(|(word, _)| *word == text);
            return Self::parse(known.ok_or_else(|| CronError::Descriptor(text.to_owned()))?.1);
        }
        if let Some(rest) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            let (zone, cron) = rest.split_once(char::is_whitespace).unwrap_or((rest, "0 0 * * *"));
            return Err(CronError::TimeZone { cron: cron.trim().to_owned(), zone: zone.to_owned() });
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days_of_month, months, days_of_week] = fields[..] else {
            return Err(CronError::Fields(fields.len()));
        };
        Ok(Self {
            minutes: Unit { what: "a minute", min: 0, max: 59, names: &[] }.parse(minutes)?,
            hours: Unit { what: "an hour", min: 0, max: 23, names: &[] }.parse(hours)?,
            days_of_month: Unit { what: "a day of month", min: 1, max: 31, names: &[] }.parse(days_of_month)?,
            months: Unit { what: "a month", min: 1, max: 12, names: &MONTHS }.parse(months)?,
            days_of_week: Unit { what: "a day of week", min: 0, max: 6, names: &WEEKDAYS }.parse(days_of_week)?,
        })
    }

    /// The first minute of the schedule at or after `from`, if it is not after `until`. Looks four years ahead at most.
    pub fn first_from(&self, from: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first_time = zone.to_datetime(from).saturating_sub(LONGEST_REPETITION);
        let last_date = zone.to_datetime(until).date();
        let dates = (0..=LONGEST_SEARCH_DAYS).map_while(|days| first_time.date().checked_add(days_later(days)).ok());
        let times = dates.take_while(|date| *date <= last_date).flat_map(|date| self.times_of(date));
        let mut repeated: Option<Timestamp> = None;
        for time in times.filter(|time| *time >= first_time) {
            let Some((first, second)) = instants(time, zone) else { continue };
            if first >= from {
                return Some(repeated.map_or(first, |earlier| earlier.min(first))).filter(|at| *at <= until);
            }
            // The second time this minute comes; another minute may come for the first time before that.
            if second >= from {
                repeated = Some(repeated.map_or(second, |earlier| earlier.min(second)));
            }
        }
        repeated.filter(|at| *at <= until)
    }

    /// The last minute of the schedule at or before `until`, if it is not before `from`. Looks four years back at most.
    pub fn last_until(&self, from: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let last_time = zone.to_datetime(until).saturating_add(LONGEST_REPETITION);
        let first_date = zone.to_datetime(from).date();
        let dates = (0..=LONGEST_SEARCH_DAYS).map_while(|days| last_time.date().checked_add(days_later(-days)).ok());
        let times = dates.take_while(|date| *date >= first_date).flat_map(|date| self.times_of(date).rev());
        let mut repeated: Option<Timestamp> = None;
        for time in times.filter(|time| *time <= last_time) {
            let Some((first, second)) = instants(time, zone) else { continue };
            if second <= until {
                return Some(repeated.map_or(second, |later| later.max(second))).filter(|at| *at >= from);
            }
            if first <= until {
                repeated = Some(repeated.map_or(first, |later| later.max(first)));
            }
        }
        repeated.filter(|at| *at >= from)
    }

    /// The minutes of one day on the wall clock, in order; none if the day does not match.
    fn times_of(&self, date: Date) -> impl DoubleEndedIterator<Item = DateTime> {
        let hours = if self.matches_date(date) { 0..24 } else { 0..0 };
        let hours = hours.filter(|hour| self.hours.has(*hour));
        hours.flat_map(move |hour| {
            let minutes = (0..60).filter(|minute| self.minutes.has(*minute));
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        })
    }

    /// Days of month and of week narrow each other if one of them is a star, and add up otherwise.
    fn matches_date(&self, date: Date) -> bool {
        let of_month = self.days_of_month.has(date.day());
        let of_week = self.days_of_week.has(date.weekday().to_sunday_zero_offset());
        let day =
            if self.days_of_month.star || self.days_of_week.star { of_month && of_week } else { of_month || of_week };
        day && self.months.has(date.month())
    }
}

/// The values a field allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Whether a member is `*` or `?`; `*/2` does not count, as in `robfig/cron`.
    star: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        self.bits >> value & 1 == 1
    }
}

/// What the values of a field can be.
struct Unit {
    what: &'static str,
    min: u8,
    max: u8,
    /// Names for the values from `min` on.
    names: &'static [&'static str],
}

impl Unit {
    fn parse(&self, text: &str) -> Result<Field, CronError> {
        let mut field = Field { bits: 0, star: false };
        for member in text.split(',') {
            let (range, step) = match member.split_once('/') {
                Some((range, step)) => (range, Some(positive(step).ok_or_else(|| CronError::Step(member.to_owned()))?)),
                None => (member, None),
            };
            let (first, last, star) = self.range(range, step.is_some()).ok_or_else(|| self.wrong(member))?;
            field.star |= star && step.unwrap_or(1) == 1;
            for value in (first..=last).step_by(step.unwrap_or(1)) {
                field.bits |= 1 << value;
            }
        }
        Ok(field)
    }

    /// The first and last value, and whether it is a star. A single value with a step goes on to the end.
    fn range(&self, text: &str, has_step: bool) -> Option<(u8, u8, bool)> {
        if text == "*" || text == "?" {
            return Some((self.min, self.max, true));
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None => (self.value(text)?, if has_step { self.max } else { self.value(text)? }),
        };
        (self.min <= first && first <= last && last <= self.max).then_some((first, last, false))
    }

    fn value(&self, text: &str) -> Option<u8> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok();
        }
        let position = self.names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        u8::try_from(position).ok()?.checked_add(self.min)
    }

    fn wrong(&self, text: &str) -> CronError {
        CronError::Value { what: self.what, text: text.to_owned(), min: self.min, max: self.max }
    }
}

/// What comes close to `@every` with this period, in quotes; an example where nothing does.
fn instead_of_every(period: &str) -> String {
    let minutes = GoDuration::from(period).to_duration().map_or(0, |period| period.as_mins());
    match (minutes, minutes / 60) {
        (1, _) => "\"* * * * *\"".to_owned(),
        (2..=30, _) if 60 % minutes == 0 => format!("\"*/{minutes} * * * *\""),
        (60, _) => "\"0 * * * *\"".to_owned(),
        (_, hours @ 2..=12) if 24 % hours == 0 && minutes % 60 == 0 => format!("\"0 */{hours} * * *\""),
        (1440, _) => "\"0 0 * * *\"".to_owned(),
        _ => "\"0 */6 * * *\" is every six hours, for example".to_owned(),
    }
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|step| *step > 0)
}

fn days_later(days: i32) -> jiff::Span {
    jiff::Span::new().days(days)
}

/// When a wall clock shows this time: twice the same instant, two when the clock is set back over it, `None` when it is
/// set forward over it.
fn instants(time: DateTime, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let (before, after) = match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset, offset),
        AmbiguousOffset::Fold { before, after } => (before, after),
        AmbiguousOffset::Gap { .. } => return None,
    };
    Some((before.to_timestamp(time).ok()?, after.to_timestamp(time).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Schedule {
        /// Whether a wall clock in `zone` shows a minute of the schedule at this very second: the definition, without
        /// any search.
        pub(in super::super) fn matches(&self, at: Timestamp, zone: &TimeZone) -> bool {
            let time = zone.to_datetime(at);
            let clock = self.hours.has(time.hour()) && self.minutes.has(time.minute()) && time.second() == 0;
            clock && self.matches_date(time.date())
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn far() -> Timestamp {
        at("2099-01-01T00:00:00Z")
    }

    /// The next `count` times after `from` in `zone`, as instants.
    fn next(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (schedule, zone) = (Schedule::parse(cron).unwrap(), TimeZone::get(zone).unwrap());
        let mut from = at(from);
        let mut found = Vec::new();
        while let Some(time) = schedule.first_from(from, far(), &zone).filter(|_| found.len() < count) {
            found.push(time.to_string());
            from = time + SignedDuration::from_secs(1);
        }
        found
    }

    #[test]
    fn the_next_time_follows_from_the_fields() {
        // Friday, 27 March 2026.
        for (cron, expected) in [
            ("* * * * *", "2026-03-27T13:07:00Z"),
            ("*/15 * * * *", "2026-03-27T13:15:00Z"),
            ("7/20 * * * *", "2026-03-27T13:07:00Z"),
            ("*/100 * * * *", "2026-03-27T14:00:00Z"),
            ("10-12,5 9 * * *", "2026-03-28T09:05:00Z"),
            ("0 2 * * SUN", "2026-03-29T02:00:00Z"),
            ("0 2 * * mon-Wed", "2026-03-30T02:00:00Z"),
            ("0 0 * feb,Apr *", "2026-04-01T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 ? * ?", "2026-03-28T00:00:00Z"),
            // One star: both must match.
            ("0 0 13 * *", "2026-04-13T00:00:00Z"),
            ("0 0 ? * 2", "2026-03-31T00:00:00Z"),
            ("0 0 *,13 * 5", "2026-04-03T00:00:00Z"),
            // No star, and a star with a step is none: one of both is enough.
            ("0 0 13 * 5", "2026-04-03T00:00:00Z"),
            ("0 0 30 * 5", "2026-03-30T00:00:00Z"),
            ("0 12 */2 * 0,6", "2026-03-28T12:00:00Z"),
            ("0 12 */1 * 0", "2026-03-29T12:00:00Z"),
            ("@hourly", "2026-03-27T14:00:00Z"),
            ("@daily", "2026-03-28T00:00:00Z"),
            ("@midnight", "2026-03-28T00:00:00Z"),
            ("@weekly", "2026-03-29T00:00:00Z"),
            ("@monthly", "2026-04-01T00:00:00Z"),
            ("@yearly", "2027-01-01T00:00:00Z"),
            (" @annually ", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(cron, "UTC", "2026-03-27T13:06:52Z", 1), [expected], "{cron}");
        }
    }

    #[test]
    fn expressions_that_mean_nothing_are_refused() {
        for (cron, problem) in [
            ("", "it has 0 fields"),
            ("* * * *", "it has 4 fields; minute, hour, day of month, month and day of week are needed"),
            ("0 * * * * *", "it has 6 fields"),
            ("@every 1h", "write the minutes at which a window opens: \"0 * * * *\""),
            ("@every 1m", ": \"* * * * *\""),
            ("@every 15m", ": \"*/15 * * * *\""),
            ("@every 6h0m0s", ": \"0 */6 * * *\""),
            ("@every 24h", ": \"0 0 * * *\""),
            ("@every 90m", ": \"0 */6 * * *\" is every six hours, for example"),
            ("@every", "is every six hours, for example"),
            ("@reboot", "\"@reboot\" is not known"),
            ("TZ=Europe/Berlin 0 3 * * *", "write cron: \"0 3 * * *\" and timezone: \"Europe/Berlin\""),
            ("CRON_TZ=UTC  @daily", "write cron: \"@daily\" and timezone: \"UTC\""),
            ("CRON_TZ=UTC", "write cron: \"0 0 * * *\" and timezone: \"UTC\""),
            ("60 * * * *", "\"60\" is not a minute, which is a number from 0 to 59, a range such as 0-59, or *"),
            ("* 24 * * *", "\"24\" is not an hour"),
            ("* * 0 * *", "\"0\" is not a day of month, which is a number from 1 to 31"),
            ("* * 32 * *", "\"32\" is not a day of month"),
            ("* * * 13 *", "\"13\" is not a month"),
            ("* * * * 7", "\"7\" is not a day of week, which is a number from 0 to 6"),
            ("5-1 * * * *", "\"5-1\" is not a minute"),
            ("1-2-3 * * * *", "\"1-2-3\" is not a minute"),
            ("-1 * * * *", "\"-1\" is not a minute"),
            ("1, * * * *", "\"\" is not a minute"),
            ("999999999999 * * * *", "is not a minute"),
            ("mon * * * *", "\"mon\" is not a minute"),
            ("* * L * *", "\"L\" is not a day of month"),
            ("* * * * 5#2", "\"5#2\" is not a day of week"),
            ("*/0 * * * *", "the step of \"*/0\" is not a number above 0"),
            ("*/x * * * *", "the step of \"*/x\""),
            ("*/2/3 * * * *", "the step of \"*/2/3\""),
        ] {
            let error = Schedule::parse(cron).unwrap_err().to_string();
            assert!(error.contains(problem), "{cron}: {error}");
        }
    }

    #[test]
    fn minutes_left_out_by_summer_time_do_not_happen() {
        let expected = ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 2), expected);
        // In Cairo the clock goes forward at midnight.
        let expected = ["2026-04-22T22:00:00Z", "2026-04-24T21:00:00Z"];
        assert_eq!(next("@daily", "Africa/Cairo", "2026-04-22T12:00:00Z", 2), expected);
    }

    #[test]
    fn minutes_repeated_in_autumn_happen_twice_and_in_order() {
        let expected = [
            "2026-10-25T00:10:00Z",
            "2026-10-25T00:40:00Z",
            "2026-10-25T01:10:00Z",
            "2026-10-25T01:40:00Z",
            "2026-10-26T01:10:00Z",
        ];
        assert_eq!(next("10,40 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5), expected);
        let (schedule, zone) = (Schedule::parse("10,40 2 * * *").unwrap(), TimeZone::get("Europe/Berlin").unwrap());
        let mut until = at("2026-10-26T00:00:00Z");
        for expected in expected[..4].iter().rev() {
            let found = schedule.last_until(Timestamp::UNIX_EPOCH, until, &zone).unwrap();
            assert_eq!(found.to_string(), *expected);
            until = found - SignedDuration::from_secs(1);
        }
    }

    #[test]
    fn searches_end() {
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        let (from, zone) = (at("2026-01-01T00:00:00Z"), TimeZone::UTC);
        assert_eq!(never.first_from(from, Timestamp::MAX, &zone), None);
        assert_eq!(never.last_until(Timestamp::MIN, from, &zone), None);
        let yearly = Schedule::parse("@yearly").unwrap();
        assert_eq!(yearly.first_from(from, from, &zone), Some(from));
        assert_eq!(yearly.last_until(from, from, &zone), Some(from));
        let (soon, end) = (at("2026-01-01T00:00:01Z"), at("2026-12-31T23:59:59Z"));
        assert_eq!(yearly.first_from(soon, end, &zone), None);
        assert_eq!(yearly.last_until(soon, end, &zone), None);
        for edge in [Timestamp::MIN, Timestamp::MAX] {
            assert!(yearly.first_from(edge, Timestamp::MAX, &zone).is_none_or(|at| at >= edge));
            assert!(yearly.last_until(Timestamp::MIN, edge, &zone).is_none_or(|at| at <= edge));
        }
    }

    /// Zones whose clocks change at midnight, by half an hour, or not at all, and expressions that meet the changes.
    pub(in super::super) const ZONES: [&str; 7] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "America/Havana",
        "Asia/Kathmandu",
    ];
    pub(in super::super) const CRONS: [&str; 8] = [
        "30 2 * * *",
        "*/7 0-3 * * *",
        "0 0 * * *",
        "59 23 * * 6",
        "45 1,2 */3 * 0",
        "0 * 25-31 3,4,10,11 *",
        "0 4 1 * *",
        "* * * * *",
    ];

    proptest! {
        #[test]
        fn searches_find_what_trying_every_minute_finds(
            minute in 29_000_000_i64..30_000_000, zone in 0..ZONES.len(), cron in 0..CRONS.len(), near_change in any::<bool>(),
        ) {
            let (schedule, zone) = (Schedule::parse(CRONS[cron]).unwrap(), TimeZone::get(ZONES[zone]).unwrap());
            let mut from = Timestamp::from_second(minute * 60).unwrap();
            if near_change && let Some(change) = zone.following(from).next() {
                from = change.timestamp() - SignedDuration::from_mins(minute % 300);
            }
            let until = from + SignedDuration::from_hours(30);
            let every = |step: i64| from + SignedDuration::from_mins(step);
            let first = (0..=1800).map(every).find(|at| schedule.matches(*at, &zone));
            let last = (0..=1800).rev().map(every).find(|at| schedule.matches(*at, &zone));
            prop_assert_eq!(schedule.first_from(from, until, &zone), first);
            prop_assert_eq!(schedule.last_until(from, until, &zone), last);
        }
    }
}
