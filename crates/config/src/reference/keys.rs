//! The keys of the configuration file, from the types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;

use crate::access::FileTls;
use crate::deployment::FileDeployment;
use crate::discovery::ServerTable;
use crate::endpoints::{EndpointTable, FileEndpoints};
use crate::expect::FileExpect;
use crate::file::{ConfigFile, FileLog, FileMetrics, FileWeb};
use crate::limits::{FileConnectLimits, FileLimits};
use crate::nodes::FileNode;
use crate::reference::schema::fields;
use crate::timing::FileCadence;

/// The kinds of deployments.
pub(super) const KINDS: [&str; 4] = ["static", "sentinel", "cluster", "dns"];

/// A table of the configuration file.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The kinds of deployments that have the table.
    kinds: &'static [&'static str],
    pub(super) keys: Vec<Key>,
    /// Names of the properties in the schema, sorted.
    pub(super) properties: Vec<String>,
}

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) is_required: bool,
    /// The kinds of deployments in which the key is valid.
    pub(super) kinds: Vec<&'static str>,
    schema: Value,
}

/// Returns all tables.
pub(super) fn tables() -> Vec<Table> {
    let discovered = &KINDS[1..];
    let with_endpoints = &["static", "sentinel", "dns"];
    vec![
        Table::of::<ConfigFile>("file", &KINDS),
        Table::of::<FileWeb>("web", &KINDS),
        Table::of::<FileMetrics>("metrics", &KINDS),
        Table::of::<FileLog>("log", &KINDS),
        Table::of::<FileConnectLimits>("connect_limits", &KINDS),
        Table::of::<FileDeployment>("deployment", &KINDS),
        Table::of::<FileNode>("nodes", &["static"]),
        Table::of::<ServerTable>("server", discovered),
        Table::of::<FileTls>("tls", &KINDS),
        Table::of::<FileCadence>("cadence", &KINDS),
        Table::of::<FileLimits>("limits", &KINDS),
        Table::of::<FileExpect>("expect", &KINDS),
        Table::of::<FileEndpoints>("endpoints", with_endpoints),
        Table::of::<EndpointTable>("endpoint", with_endpoints),
    ]
}

impl Table {
    fn of<'de, T: Deserialize<'de> + JsonSchema>(
        name: &'static str,
        kinds: &'static [&'static str],
    ) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        });
        let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        let properties = schema["properties"].as_object().expect("properties");
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let key = |name: &&'static str| Key {
            name,
            is_required: required.contains(&Value::from(*name)),
            kinds: key_kinds(&properties[*name], kinds),
            schema: properties[*name].clone(),
        };
        Table {
            name,
            kinds,
            keys: fields::<T>().iter().map(key).collect(),
            properties: properties.keys().cloned().collect(),
        }
    }

    /// Returns whether all keys are valid in all kinds of deployments.
    pub(super) fn is_universal(&self) -> bool {
        self.keys.iter().all(|key| key.kinds == KINDS)
    }

    pub(super) fn key(&self, name: &str) -> &Key {
        self.keys
            .iter()
            .find(|key| key.name == name)
            .unwrap_or_else(|| panic!("no key {name} in {}", self.name))
    }

    /// Returns the path to the table from the root of the file; `None` for a table in deployments.
    pub(super) fn path_in_file(&self) -> Option<&'static [&'static str]> {
        match self.name {
            "file" => Some(&[]),
            "web" => Some(&["web"]),
            "metrics" => Some(&["metrics"]),
            "log" => Some(&["log"]),
            "connect_limits" => Some(&["limits"]),
            _ => None,
        }
    }

    pub(super) fn is_valid_in(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }
}

/// Returns the kinds that a key names, or all kinds of its table.
fn key_kinds(schema: &Value, table: &'static [&'static str]) -> Vec<&'static str> {
    let Some(own) = schema.get("x-kinds") else { return table.to_vec() };
    let own: Vec<_> = own.as_array().expect("a list").iter().map(text).collect();
    assert!(own.iter().all(|kind| table.contains(kind)), "{own:?}");
    table.iter().copied().filter(|kind| own.contains(kind)).collect()
}

impl Key {
    /// Returns the description as one line.
    pub(super) fn description(&self) -> String {
        let text = self.schema.get("description").map(text).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn default(&self) -> Option<&Value> {
        self.schema.get("x-default")
    }

    pub(super) fn example(&self) -> Option<&Value> {
        self.schema.get("examples")?.as_array()?.first()
    }

    pub(super) fn type_name(&self) -> String {
        type_name(&self.schema)
    }

    /// Returns whether the value is a table with known keys, or a list of such tables.
    pub(super) fn is_table(&self) -> bool {
        let type_name = self.type_name();
        ["table", "list of tables"].contains(&type_name.as_str())
    }
}

/// Returns the type in TOML terms.
fn type_name(schema: &Value) -> String {
    if let Some(name) = schema.get("x-type") {
        return text(name).to_owned();
    }
    // An optional value is the value or null, which TOML lacks.
    for union in ["anyOf", "oneOf"] {
        let Some(options) = schema.get(union).and_then(Value::as_array) else { continue };
        let options: Vec<_> = options.iter().filter(|option| option["type"] != "null").collect();
        if let [only] = options[..] {
            return type_name(only);
        }
        let values = options.iter().map(|option| quoted(&option["const"]));
        return values.collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = schema.get("const") {
        return quoted(value);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values = values.iter().filter(|value| !value.is_null()).map(quoted);
        return values.collect::<Vec<_>>().join(", ");
    }
    let names = match &schema["type"] {
        Value::Array(names) => names.iter().find(|name| **name != "null").expect("a type"),
        name => name,
    };
    match text(names) {
        "array" => format!("list of {}", plural(&type_name(&schema["items"]))),
        "object" if schema.get("properties").is_some() => "table".to_owned(),
        "object" => format!("table of {}", plural(&type_name(&schema["additionalProperties"]))),
        name => name.to_owned(),
    }
}

fn plural(name: &str) -> String {
    match name {
        "URL or table" => "URLs or tables".to_owned(),
        name => format!("{name}s"),
    }
}

fn quoted(value: &Value) -> String {
    format!("`\"{}\"`", text(value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}
