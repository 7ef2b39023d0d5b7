//! The subcommands of the certwright binary.
pub mod acmesolver;
pub mod crds;
