//! INFO modules: the loaded modules.

use crate::key_values;
use crate::names::{NameKind, bounded_name};

/// A loaded module. INFO modules: `module:name=...,ver=...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name. `name`.
    pub name: Box<str>,
    /// Version, a number whose meaning the module decides. `ver`.
    pub version: Box<str>,
    /// Version of the module API that the module uses; empty if it is unknown. `api`.
    pub api: Box<str>,
    /// Number of command filters; empty if it is unknown. `filters`.
    pub filters: Box<str>,
    /// Modules that use this one, in brackets; empty if they are unknown or too many. `usedby`.
    pub used_by: Box<str>,
    /// Modules that this one uses, in brackets; empty if they are unknown or too many. `using`.
    pub using: Box<str>,
}

/// Prefix of the lines of INFO modules.
pub(crate) const PREFIX: &str = "module:";

/// Maximum number of modules that are kept.
const MAX_MODULES: usize = 64;

/// Returns the module of each line that has a name and a version.
pub(crate) fn read(text: &str) -> Vec<Module> {
    let module = |line: &str| {
        let line = line.strip_prefix(PREFIX)?;
        let required = |name| key_values::label_value(key_values::get(line, name)?);
        let optional = |name| {
            let value = key_values::get(line, name).unwrap_or_default();
            bounded_name(NameKind::LabelValue, value).unwrap_or_default()
        };
        Some(Module {
            name: required("name")?,
            version: required("ver")?,
            api: optional("api"),
            filters: optional("filters"),
            used_by: optional("usedby"),
            using: optional("using"),
        })
    };
    text.lines().filter_map(module).take(MAX_MODULES).collect()
}
