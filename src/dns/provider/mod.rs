//! One file per provider that can write a TXT record.
