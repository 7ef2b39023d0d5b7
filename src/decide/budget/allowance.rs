//! How many orders an account may have created in which time.

use jiff::SignedDuration;

use crate::{
    api::{GoDuration, names::annotation},
    decide::{backoff::in_words, shard::Share},
};

/// Windows up to this are simply waited for, also by the urgent.
const SHORT_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// More are not remembered.
const MOST: usize = 100_000;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// 0 is no limit.
    pub most: u32,
    pub window: SignedDuration,
}

impl Default for Allowance {
    /// Let's Encrypt's limit for an account.
    fn default() -> Self {
        Self { most: 300, window: SignedDuration::from_hours(3) }
    }
}

impl Allowance {
    /// Reads a number and a time, such as `300/3h`; `0` alone is no limit.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (most, window) = text.split_once('/').unwrap_or((text, ""));
        let most: u32 = most
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} is not a number of orders and a time, such as 300/3h"))?;
        if most == 0 {
            return Ok(Self { most, ..Self::default() });
        }
        let window = GoDuration::from(window.trim()).to_duration().map_err(|error| error.to_string())?;
        if window <= SignedDuration::ZERO {
            return Err(format!("{text:?} names no time within which so many orders may be made, such as 300/3h"));
        }
        Ok(Self { most, window })
    }

    /// What is wrong with an issuer's annotation, in one sentence.
    pub fn problem(annotation: Option<&str>) -> Option<String> {
        let why = Self::parse(annotation?).err()?;
        Some(format!("the annotation {} is ignored, because {why}", annotation::NEW_ORDERS))
    }

    pub fn is_unlimited(&self) -> bool {
        self.most == 0
    }

    /// What this part of the work has of it; at least one order.
    #[must_use]
    pub fn part_for(self, share: Share) -> Self {
        if self.is_unlimited() { self } else { Self { most: share.part_of(self.most), ..self } }
    }

    /// What all may use together.
    pub(super) fn all(&self) -> usize {
        if self.is_unlimited() { usize::MAX } else { usize::try_from(self.most).unwrap_or(MOST).min(MOST) }
    }

    /// What is kept for the urgent.
    pub(super) fn reserve(&self) -> usize {
        if self.is_unlimited() || self.window <= SHORT_WINDOW { 0 } else { self.all() / 10 }
    }

    /// What those may use that are not urgent.
    pub(super) fn ordinary(&self) -> usize {
        self.all() - self.reserve()
    }

    /// For messages.
    pub(super) fn in_words(&self) -> String {
        let kept = match self.reserve() {
            0 => String::new(),
            reserve => format!(", of which {reserve} are kept for urgent ones"),
        };
        format!("at most {} new orders are made for this account within {}{kept}", self.most, in_words(self.window))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let read = |text| Allowance::parse(text).map(|read| (read.most, read.window.as_secs()));
        assert_eq!(read("300/3h"), Ok((300, 10_800)));
        assert_eq!(read(" 20 / 90m "), Ok((20, 5400)));
        assert_eq!(read("0").unwrap().0, 0);
        assert_eq!(read("0/1h").unwrap().0, 0);
        for wrong in ["", "many", "-1/3h", "300", "300/", "300/0s", "300/-1h", "300/soon", "/3h", "99999999999/3h"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_part_is_never_more_than_the_whole_and_never_nothing() {
        let part = |text, of| Allowance::parse(text).unwrap().part_for(Share { number: of - 1, of }).most;
        assert_eq!(
            [part("300/3h", 1), part("300/3h", 4), part("300/3h", 7), part("2/3h", 4), part("0", 4)],
            [300, 75, 42, 1, 0]
        );
    }

    #[test]
    fn a_tenth_is_kept_unless_the_window_is_short() {
        let parts = |text| Allowance::parse(text).map(|read| (read.ordinary(), read.reserve())).unwrap();
        assert_eq!(parts("300/3h"), (270, 30));
        assert_eq!(parts("9/3h"), (9, 0));
        assert_eq!(parts("100/10s"), (100, 0));
        assert_eq!(parts("0"), (usize::MAX, 0));
    }
}
