//! The wire types of cert-manager.io/v1 and acme.cert-manager.io/v1, and the names users see on objects.
