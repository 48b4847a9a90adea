//! The document: the prose of `configuration.md` with generated tables and examples.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::preset::PRESETS;
use crate::reference::keys::{KINDS, Key, Table, tables};

/// The prose, with directives for the generated parts.
pub(super) const TEMPLATE: &str = include_str!("configuration.md");

/// The note that the document is generated.
const GENERATED: &str = "\
<!-- Generated from crates/config/src/reference/configuration.md and the types in crates/config/src.
     Run `UPDATE_EXPECT=1 cargo test -p config` after a change. -->
";

/// Returns the document.
pub(super) fn document() -> String {
    let tables = tables();
    let mut document = String::new();
    for line in TEMPLATE.lines() {
        match directive(line) {
            Some(Directive::Keys { table, keys }) => {
                let table = find(&tables, table);
                write_keys(&mut document, table, &keys);
            }
            Some(Directive::Variables) => write_variables(&mut document, &tables),
            Some(Directive::Presets) => write_presets(&mut document),
            Some(Directive::Example(name)) => {
                let text = std::fs::read_to_string(example_path(name)).expect("an example");
                let _ = writeln!(document, "```toml\n{}\n```", text.trim_end());
            }
            Some(Directive::Generated) => document += GENERATED,
            None => document = document + line + "\n",
        }
    }
    document
}

/// A line of the template that is replaced.
pub(super) enum Directive<'a> {
    /// Keys of a table.
    Keys { table: &'a str, keys: Vec<&'a str> },
    /// The note that the document is generated.
    Generated,
    /// The environment variables of the keys outside of deployments.
    Variables,
    /// The presets.
    Presets,
    /// A file in `tests/examples`.
    Example(&'a str),
}

pub(super) fn directive(line: &str) -> Option<Directive<'_>> {
    let text = line.strip_prefix("<!-- ")?.strip_suffix(" -->").expect("the end of a directive");
    let (name, arguments) = text.split_once(": ").unwrap_or((text, ""));
    let mut arguments = arguments.split(' ');
    let first = arguments.next().unwrap_or_default();
    Some(match name {
        "keys" => Directive::Keys { table: first, keys: arguments.collect() },
        "generated" => Directive::Generated,
        "variables" => Directive::Variables,
        "presets" => Directive::Presets,
        "example" => Directive::Example(first),
        name => panic!("unknown directive {name}"),
    })
}

pub(super) fn example_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name)
}

fn find<'a>(tables: &'a [Table], name: &str) -> &'a Table {
    tables.iter().find(|table| table.name == name).expect(name)
}

/// Writes some keys of a table. The column of the kinds is left out if no key needs it.
fn write_keys(document: &mut String, table: &Table, keys: &[&str]) {
    let has_kinds = !table.is_universal();
    let kinds_column = |text: &str| if has_kinds { format!(" {text} |") } else { String::new() };
    let (title, rule) = (kinds_column("Kinds"), kinds_column("---"));
    let _ = writeln!(document, "| Key | Type | Default |{title} Example | Description |");
    let _ = writeln!(document, "| --- | --- | --- |{rule} --- | --- |");
    for name in keys {
        let key = table.key(name);
        let kinds = kinds_column(&kinds(key));
        let _ = writeln!(
            document,
            "| `{name}` | {type_name} | {default} |{kinds} `{example}` | {description} |",
            type_name = key.type_name(),
            default = default(key),
            example = toml(key.example().expect("an example")),
            description = key.description(),
        );
    }
}

fn kinds(key: &Key) -> String {
    if key.kinds == KINDS { "all".to_owned() } else { key.kinds.join(", ") }
}

fn default(key: &Key) -> String {
    match key.default() {
        _ if key.is_required => "required".to_owned(),
        Some(value) => format!("`{}`", toml(value)),
        None => String::new(),
    }
}

fn write_variables(document: &mut String, tables: &[Table]) {
    let _ = writeln!(document, "| Variable | Key |\n| --- | --- |");
    for table in tables {
        let Some(table_path) = table.path_in_file() else { continue };
        for key in table.keys.iter().filter(|key| !key.is_table()) {
            let path = [table_path, &[key.name]].concat().join(".");
            let variable = path.replace('.', "__").to_uppercase();
            let _ = writeln!(document, "| `ROLECALL_{variable}` | `{path}` |");
        }
    }
}

/// Writes the properties of each preset.
fn write_presets(document: &mut String) {
    let title =
        "| Preset | System | Not sent | Unknown role | AOF | TLS | Long intervals | Source |";
    let _ = writeln!(document, "{title}\n| --- | --- | --- | --- | --- | --- | --- | --- |");
    let yes = |is_true: bool| if is_true { "yes" } else { "no" };
    for row in &PRESETS {
        let skipped: Vec<_> = row.skipped.iter().map(|command| command.label()).collect();
        let skipped = skipped.join(", ");
        let source =
            if row.source.is_empty() { String::new() } else { format!("[source]({})", row.source) };
        let _ = writeln!(
            document,
            "| `{name}` | {system} | {skipped} | {role} | {aof} | {tls} | {billed} | {source} |",
            name = row.name,
            system = row.system,
            role = yes(row.unknown_role),
            aof = yes(row.has_aof),
            tls = yes(row.expects_tls),
            billed = yes(row.is_billed),
        );
    }
}

/// Writes a value as TOML on one line.
pub(super) fn toml(value: &Value) -> String {
    fn convert(value: &Value) -> toml_edit::Value {
        match value {
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.as_i64().expect("an integer").into(),
            Value::String(value) => value.into(),
            Value::Array(values) => values.iter().map(convert).collect(),
            Value::Object(values) => {
                let pairs = values.iter().map(|(key, value)| (key, convert(value)));
                pairs.collect::<toml_edit::InlineTable>().into()
            }
            Value::Null => panic!("TOML has no null"),
        }
    }
    convert(value).to_string()
}
