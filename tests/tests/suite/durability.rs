//! Whether writes are accepted and survive, on real servers.
