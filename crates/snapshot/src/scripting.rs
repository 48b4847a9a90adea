//! INFO scriptingengines: the scripting engines of Valkey.

use crate::{Fields, key_values};

/// A scripting engine. INFO scriptingengines: `engine_N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptingEngine {
    /// Name. `name`.
    pub name: Box<str>,
    /// Module that provides the engine. `module`.
    pub module: Box<str>,
    /// Version of the interface between engine and server. `abi_version`.
    pub abi_version: Box<str>,
    /// Memory that the engine uses, bytes. `used_memory`.
    pub used_memory: u64,
    /// Memory of the server for the engine, bytes. `memory_overhead`.
    pub memory_overhead: u64,
}

/// Maximum number of engines that are kept.
const MAX_ENGINES: usize = 64;

/// Returns the engines in the fields of INFO, sorted by their number.
pub(crate) fn read(fields: &Fields) -> Vec<ScriptingEngine> {
    let number = |name: &str| name.strip_prefix("engine_")?.parse::<u32>().ok();
    let mut lines: Vec<_> =
        fields.iter().filter_map(|(name, line)| Some((number(name)?, line))).collect();
    lines.sort_unstable();
    let engine = |(_, line)| {
        let label = |name| key_values::label_value(key_values::get(line, name)?);
        Some(ScriptingEngine {
            name: label("name")?,
            module: label("module")?,
            abi_version: label("abi_version")?,
            used_memory: key_values::parse(line, "used_memory")?,
            memory_overhead: key_values::parse(line, "memory_overhead")?,
        })
    };
    lines.into_iter().take(MAX_ENGINES).filter_map(engine).collect()
}
