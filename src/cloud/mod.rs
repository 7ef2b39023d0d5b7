//! Who the controller is to the clouds, and how requests to them are signed.

pub mod aws;
pub mod azure;
pub mod google;
pub mod token;
