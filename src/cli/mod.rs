//! The subcommands of the certwright binary.
