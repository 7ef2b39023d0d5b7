//! Solvers behind cert-manager's DNS webhook protocol.
