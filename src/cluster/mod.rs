//! Shared watches, stores, the work queue, writes and events.
