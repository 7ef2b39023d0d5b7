//! Amazon Web Services: credentials and Signature Version 4.
