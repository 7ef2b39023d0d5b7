//! Gather, decide, act: one file per kind.
