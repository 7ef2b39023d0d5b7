//! Google Cloud: access tokens.
