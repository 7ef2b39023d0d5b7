//! Shared watches, stores, the work queue, writes and events.
//!
//! Every object that certwright reads is watched once, by [`hub::Hub`], and lies in one [`store::Store`] per kind. Every
//! write goes through [`Cluster`], which puts what the API server returned into the store at once: no pass ever decides
//! on a view that is older than our own last write.

mod aggregated;
mod dependents;
mod dropped;
mod error;
mod event;
mod hub;
mod injection;
mod keep;
mod key;
mod lease;
mod namespaces;
mod queue;
mod repeated;
mod rights;
mod secret;
mod sources;
mod store;
mod token;
mod unreadable;
mod unwatched;
mod watch_rights;
mod write;

pub use dependents::{by_secret as secret_entry, dns_value_entry, owner_entry, tls_name_entry, token_entry};
pub use error::{ApiError, with_causes};
pub use event::{Event, EventKind, Recorder};
pub use hub::{Hub, Watched};
pub use key::{Key, Kind, ObjectName};
pub use lease::LeaseHandle;
pub use namespaces::Namespaces;
pub use queue::{Load, Queue};
pub use rights::Rights;
pub use secret::SecretReader;
pub use store::{Put, Store};
pub use unreadable::Unreadable;
pub use write::{Cluster, Scoped, merge_patch};
