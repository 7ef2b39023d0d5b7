//! The HTTP request provider: a contract for scripts and services of one's own.
