//! The ACME protocol (RFC 8555): directory, nonces, accounts, orders, authorizations, challenges, certificates; with IP
//! identifiers (RFC 8738), renewal information (RFC 9773) and certificate profiles.
//!
//! One call is one request, apart from fetching the directory when it is not known or old, fetching a nonce when none is
//! left, and repeating a request at once that the server refused for its nonce or whose URL it has moved. Nothing here waits
//! or polls: an [`Answer`] carries what the server said about trying again, and the caller decides when that is.
//!
//! - [`client`]: the client of one CA; [`account`]: an account and what is done in its name
//! - [`order`], [`authorization`], [`certificate`], [`renewal`], [`directory`]: what the server sends
//! - [`problem`]: error documents (RFC 7807), kept verbatim
//! - [`jws`]: signing requests (RFC 7515), pure
//! - [`gate`], [`limit`]: what the CA wants to be spared, and what that is about
//! - [`transport`]: one HTTP exchange

pub mod account;
pub mod authorization;
pub mod certificate;
pub mod client;
pub mod directory;
mod error;
pub mod gate;
pub mod jws;
mod known_directory;
pub mod limit;
mod link;
mod nonce;
pub mod order;
mod place;
pub mod problem;
pub mod renewal;
mod retry_after;
mod revocation;
mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;
mod wanted;
mod wire;

pub use account::{Account, AccountHandle, ExternalAccountBinding, Registration};
pub use authorization::{AuthorizationBody, ChallengeBody};
pub use certificate::Chain;
pub use client::{Answer, Client, Config};
pub use directory::Directory;
pub use error::{Error, TransportKind};
pub use jws::MacAlgorithm;
pub use order::{Identifier, NewOrder, OrderBody};
pub use problem::{Problem, Subproblem};
pub use renewal::RenewalInfo;
pub use status::{AccountStatus, AuthorizationStatus, ChallengeStatus, OrderStatus};
