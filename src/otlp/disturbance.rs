//! What is said of spans that nobody takes: once when it begins, and once when it is over.

/// Spans are lost since it began; none if all goes well. It is over when nothing was lost from one batch that was taken to
/// the next: while more comes than can be sent, some are taken and some are lost all the time.
#[derive(Debug, Default)]
pub(super) struct Disturbance(Option<Losses>);

#[derive(Debug)]
struct Losses {
    spans: u64,
    /// Since the last batch that was taken.
    are_recent: bool,
}

/// What is to be said now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Begun,
    /// So many spans were lost.
    Over(u64),
}

impl Disturbance {
    pub(super) fn lost(&mut self, spans: u64) -> Option<News> {
        let so_far = self.0.as_ref().map_or(0, |losses| losses.spans);
        let losses = Losses { spans: so_far.saturating_add(spans), are_recent: true };
        self.0.replace(losses).is_none().then_some(News::Begun)
    }

    pub(super) fn taken(&mut self) -> Option<News> {
        match &mut self.0 {
            Some(losses) if losses.are_recent => {
                losses.are_recent = false;
                None
            }
            _ => self.0.take().map(|losses| News::Over(losses.spans)),
        }
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
        assert_eq!(disturbance.taken(), None, "it may go on");
        assert_eq!(disturbance.lost(2), None);
        assert_eq!(disturbance.taken(), None);
        assert_eq!(disturbance.taken(), Some(News::Over(9)));
        assert_eq!(disturbance.taken(), None);
        assert_eq!(disturbance.lost(1), Some(News::Begun));
    }
}
