//! What servers serve with over TLS: a certificate that may change while they run, from a CA in a Secret ([`Keeper`]) or from
//! files ([`pair`]); which versions and cipher suites ([`Protocol`]); and who may ask ([`Clients`]).

mod clients;
mod current;
mod files;
mod keeper;
mod protocol;

pub use clients::Clients;
pub use current::{Certificates, TlsError};
pub use files::{Source, follow, pair};
pub use keeper::{Keeper, Settings};
pub use protocol::{CipherSuite, MinVersion, Protocol};
