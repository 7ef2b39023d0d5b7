//! The ACME client against a real Pebble, and against small servers that misbehave.
//!
//! Pebble is found through the environment variables `CERTWRIGHT_PEBBLE` and `CERTWRIGHT_PEBBLE_CHALLTESTSRV`; without
//! them its tests report "skipped".

#![allow(clippy::unwrap_used)]

mod accounts;
mod faults;
mod issuance;
mod limits;
mod pebble;
mod revocation;
