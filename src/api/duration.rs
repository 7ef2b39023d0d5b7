//! Durations in Go's notation, as Kubernetes writes them: `2160h`, `1h30m`, `1.5s`.

use std::fmt::{self, Write as _};

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a duration has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error(
        "{text:?} is not a duration; write numbers with units, such as \"2160h\" or \"1h30m\" (units: h, m, s, ms, us, ns)"
    )]
    Syntax { text: String },
    #[error("the duration {text:?} is out of range; at most about 292 years (2562047h) can be expressed")]
    Range { text: String },
}

/// A duration as it stands in an object: the text is kept as written, and read only when its value is asked for.
///
/// So an object with a malformed duration still decodes, and what was `2160h` is not sent back as `2160h0m0s`.
/// Equality compares the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GoDuration(String);

impl GoDuration {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, by the grammar of Go's `time.ParseDuration`.
    pub fn to_duration(&self) -> Result<SignedDuration, DurationError> {
        let nanoseconds = parse_nanoseconds(&self.0)?;
        let nanoseconds = i64::try_from(nanoseconds).map_err(|_| DurationError::Range { text: self.0.clone() })?;
        Ok(SignedDuration::from_nanos(nanoseconds))
    }
}

impl From<&str> for GoDuration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for GoDuration {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<SignedDuration> for GoDuration {
    /// Written as Go prints it: `2160h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`.
    fn from(duration: SignedDuration) -> Self {
        Self(format_as_go(duration))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn parse_nanoseconds(text: &str) -> Result<i128, DurationError> {
    let syntax = || DurationError::Syntax { text: text.to_owned() };
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (value, after) = parse_element(rest).ok_or_else(syntax)?;
        total =
            value.and_then(|v| total.checked_add(v)).ok_or_else(|| DurationError::Range { text: text.to_owned() })?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

/// One number with its unit, in nanoseconds (`None` on overflow), and what follows it.
fn parse_element(text: &str) -> Option<(Option<i128>, &str)> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;

    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<i128>().ok() };
    let value = whole.and_then(|w| w.checked_mul(scale)).map(|w| w + fraction_of(fraction, scale));
    Some((value, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.<digits>` of a unit, cut off below one nanosecond.
fn fraction_of(digits: &str, scale: i128) -> i128 {
    // More digits than these are far below a nanosecond even for hours.
    let digits = &digits[..digits.len().min(18)];
    let (mut value, mut divisor) = (0, 1);
    for digit in digits.bytes() {
        value = value * 10 + i128::from(digit - b'0');
        divisor *= 10;
    }
    value * scale / divisor
}

fn format_as_go(duration: SignedDuration) -> String {
    let nanoseconds = duration.as_nanos();
    let magnitude = nanoseconds.unsigned_abs();
    let mut text = String::from(if nanoseconds < 0 { "-" } else { "" });
    match magnitude {
        0 => text.push_str("0s"),
        1..1_000 => push_decimal(&mut text, magnitude, 1, "ns"),
        1_000..1_000_000 => push_decimal(&mut text, magnitude, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => push_decimal(&mut text, magnitude, 1_000_000, "ms"),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            if minutes >= 60 {
                let _ = write!(text, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(text, "{}m", minutes % 60);
            }
            push_decimal(&mut text, magnitude % 60_000_000_000, 1_000_000_000, "s");
        }
    }
    text
}

/// `value / scale` as a decimal without trailing zeros, then the unit.
fn push_decimal(text: &mut String, value: u128, scale: u128, unit: &str) {
    let _ = write!(text, "{}", value / scale);
    if !value.is_multiple_of(scale) {
        let width = scale.ilog10() as usize;
        let fraction = format!("{:0width$}", value % scale);
        let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
    }
    text.push_str(unit);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("2160h", 2160 * 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("3us2ns", 3_002),
            ("10ms", 10_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            ("9223372036854775807ns", i64::MAX),
        ] {
            assert_eq!(GoDuration::from(text).to_duration(), Ok(SignedDuration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "-", "3", "1d", "h", ".s", "1h 30m", "1H", "1h30", "--1s", "90 days", "\u{661}s"] {
            let error = GoDuration::from(text).to_duration().unwrap_err();
            assert_eq!(error, DurationError::Syntax { text: text.into() });
        }
        for text in ["9223372036854775808ns", "2562048h", "99999999999999999999999999999999999999999999h"] {
            let error = GoDuration::from(text).to_duration().unwrap_err();
            assert_eq!(error, DurationError::Range { text: text.into() });
        }
    }

    #[test]
    fn prints_as_go_prints() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (7_776_000_000_000_000, "2160h0m0s"),
            (-90_000_000_000, "-1m30s"),
            (8_000_000_000_000, "2h13m20s"),
        ] {
            let duration = SignedDuration::from_nanos(nanoseconds);
            let printed = GoDuration::from(duration);
            assert_eq!(printed.as_str(), text);
            assert_eq!(printed.to_duration(), Ok(duration));
        }
    }

    #[test]
    fn keeps_the_text_of_the_object() {
        let kept: GoDuration = serde_json::from_str("\"90 days\"").unwrap();
        assert_eq!(serde_json::to_string(&kept).unwrap(), "\"90 days\"");
        assert!(kept.to_duration().unwrap_err().to_string().contains("\"90 days\""));
    }
}
