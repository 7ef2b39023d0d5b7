//! Between the controller and the CA the line is bad, or somebody answers who is no CA: the certificate comes all the
//! same, or the objects say why not. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test acme_faults -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "acme_faults/bad_input.rs"]
mod bad_input;
#[path = "acme_faults/case.rs"]
mod case;
#[path = "acme_faults/many.rs"]
mod many;
#[path = "acme_faults/single.rs"]
mod single;
