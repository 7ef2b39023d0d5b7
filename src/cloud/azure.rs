//! Microsoft Azure: access tokens.
