//! Azure DNS, public and private zones.
