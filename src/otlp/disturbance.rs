//! What is said of spans that nobody takes: once when it begins, and once when it is over.

/// Spans are lost since it began; none if all goes well.
#[derive(Debug, Default)]
pub(super) struct Disturbance(Option<u64>);

/// What is to be said now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Begun,
    /// So many spans were lost.
    Over(u64),
}

impl Disturbance {
    pub(super) fn lost(&mut self, spans: u64) -> Option<News> {
        let so_far = self.0.unwrap_or_default().saturating_add(spans);
        self.0.replace(so_far).is_none().then_some(News::Begun)
    }

    pub(super) fn taken(&mut self) -> Option<News> {
        self.0.take().map(News::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_so_is_its_end() {
        let mut disturbance = Disturbance::default();
        assert_eq!(disturbance.taken(), None);
        assert_eq!(disturbance.lost(3), Some(News::Begun));
        assert_eq!(disturbance.lost(4), None);
        assert_eq!(disturbance.taken(), Some(News::Over(7)));
        assert_eq!(disturbance.taken(), None);
        assert_eq!(disturbance.lost(1), Some(News::Begun));
    }
}
