//! What takes its time, as spans of traces: passes over objects, and what they ask of others.
//!
//! Every room may say here what is under way; [`crate::otlp`] sends the spans to who asked for them. Without the feature `otlp`
//! nothing of this is in the program, and with it nothing is kept until somebody listens: what describes a span is only
//! called then. A span holds no secret and nothing of others that is not bounded in length.
//!
//! All passes for one issuance are in one trace, whichever process makes them: its id follows from the CertificateRequest's.

#[cfg(feature = "otlp")]
mod issuance;
#[cfg(feature = "otlp")]
mod live;
#[cfg(not(feature = "otlp"))]
mod none;

#[cfg(feature = "otlp")]
pub use issuance::Ids;
#[cfg(feature = "otlp")]
pub use live::{Here, Span, Within, is_heard, listen, note_failure, wrote};
#[cfg(not(feature = "otlp"))]
pub use none::{Here, Span, Within, is_heard, note_failure, wrote};
