//! acme-dns: a server for challenge records alone, to which names are delegated by CNAME.
