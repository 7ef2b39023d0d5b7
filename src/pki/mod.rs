//! Keys, certificate requests, certificates and chains: bytes in, bytes out.
