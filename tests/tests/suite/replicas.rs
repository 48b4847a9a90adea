//! How replicas fail to follow, on real servers.
