//! The right to watch a kind: that it is missing is told once, and that it is there again.

use jiff::Timestamp;
use kube::runtime::watcher;

use super::{error::with_causes, hub::Hub};
use crate::{api::MissingRight, measure};

/// What one watch is refused at present.
#[derive(Default)]
pub(super) struct WatchRights {
    missing: Option<String>,
}

impl WatchRights {
    /// Tells why the watch was interrupted. True if that is for want of a right.
    pub(super) fn interrupted(&mut self, hub: &Hub, kind: &str, error: &watcher::Error) -> bool {
        measure::watch_interrupted(kind);
        let Some(right) = missing_right(error) else {
            tracing::warn!(kind, error = with_causes(error), "watch interrupted; it is taken up again");
            return false;
        };
        let is_news = hub.rights.note_missing(&right, Timestamp::now());
        match self.missing.replace(right.to_string()) {
            // To list comes before to watch, so nothing is known of the other one any more.
            Some(former) if former != right.to_string() => drop(hub.rights.note_granted(&former)),
            None if is_news => tracing::warn!(kind, "{}; what needs no {kind} goes on", right.sentence()),
            _ => {}
        }
        true
    }

    /// The watch tells of something, so it is not refused.
    pub(super) fn goes_on(&mut self, hub: &Hub, kind: &str) {
        if let Some(right) = self.missing.take() {
            hub.rights.note_granted(&right);
            tracing::info!(kind, "the right to {right} is there now");
        }
    }
}

fn missing_right(error: &watcher::Error) -> Option<MissingRight> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status)
            if status.code == 403 =>
        {
            MissingRight::of(&status.message)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> watcher::Error {
        let status = kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn the_hub_knows_what_a_watch_is_refused() {
        let (hub, mut rights) = (Hub::default(), WatchRights::default());
        let words =
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
        let missing = || hub.rights.missing(Timestamp::now());
        assert!(!rights.interrupted(&hub, "Pod", &refused(500, words)));
        assert!(!rights.interrupted(&hub, "Pod", &refused(403, "no")));
        assert_eq!(missing(), Vec::<String>::new());
        assert!(rights.interrupted(&hub, "Pod", &refused(403, words)));
        assert_eq!(missing(), ["list pods in the whole cluster"]);
        rights.goes_on(&hub, "Pod");
        assert_eq!(missing(), Vec::<String>::new());
    }
}
