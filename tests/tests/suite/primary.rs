//! Who is primary, and what is lost when that changes, on real servers.
