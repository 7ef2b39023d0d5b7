//! The wire types of cert-manager.io/v1 and acme.cert-manager.io/v1, and the names users see on objects.
//!
//! Every type decodes leniently: unknown fields are ignored, words that the schema lists as an enumeration are plain
//! strings here, and a part that is missing becomes empty. An object that a newer version of the API wrote, or that
//! somebody stored with validation turned off, must never stop a watch. What is *sent* is exactly what cert-manager
//! would send: absent parts are left out.
//!
//! The schemas that the API server enforces are made from these same types, see [`crd`].

// Clippy takes the columns of one kind, of which several are strings, for the same attribute given twice.
#![allow(clippy::duplicated_attributes)]

pub mod certificate;
pub mod certificate_request;
pub mod challenge;
pub mod condition;
pub mod crd;
pub mod dns01;
pub mod duration;
mod injection;
pub mod issuer;
pub mod label;
mod lenient;
pub mod missing_right;
pub mod names;
pub mod order;
pub mod pod_template;
pub mod reference;
mod rules;
mod schema;
pub mod sensitive;
pub mod solver;
pub mod source;

pub use certificate::{Certificate, CertificateSpec, CertificateStatus};
pub use certificate_request::{CertificateRequest, CertificateRequestSpec, CertificateRequestStatus};
pub use challenge::{Challenge, ChallengeSpec, ChallengeStatus};
pub use condition::{Condition, find_condition, set_condition};
pub use crd::crds;
pub use duration::GoDuration;
pub use injection::{CaSource, InjectionTarget};
pub use issuer::{ClusterIssuer, Issuer, IssuerSpec, IssuerStatus};
pub use missing_right::MissingRight;
pub use order::{Order, OrderSpec, OrderStatus};
pub use reference::{IssuerReference, SecretKeySelector};
pub use sensitive::Sensitive;
pub use source::{Source, SourceKind};
