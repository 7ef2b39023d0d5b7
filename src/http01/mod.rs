//! HTTP-01: the solver's objects, its server and the self-check.
