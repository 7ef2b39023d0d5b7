//! The subcommands of the certwright binary.
pub mod crds;
