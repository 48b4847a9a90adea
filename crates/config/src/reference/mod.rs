//! Generates `crates/exporter/CONFIGURATION.md` from the types of the configuration file and
//! `configuration.md`, and tests what it states.
//!
//! `UPDATE_EXPECT=1 cargo test -p config` writes the document. Lines of `configuration.md` that
//! begin with `<!-- keys:`, `<!-- variables` or `<!-- example:` become tables of keys, the table of
//! environment variables, and an example file.

mod document;
mod keys;
mod schema;
mod tests;
