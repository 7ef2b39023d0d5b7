//! The ACME protocol (RFC 8555): directory, nonces, accounts, orders, authorizations, challenges, certificates.
