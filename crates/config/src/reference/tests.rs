//! Tests of the document: it is complete, and what it states is true.

#![cfg(test)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use expect_test::expect_file;
use figment::Figment;
use figment::providers::{Format, Toml};
use serde_json::{Map, Value, json};

use crate::reference::document::{Directive, TEMPLATE, directive, document, example_path, toml};
use crate::reference::keys::{KINDS, Key, Table, tables};
use crate::{Settings, urls};

#[test]
fn document_equals_generated_text() {
    expect_file!["../../../exporter/CONFIGURATION.md"].assert_eq(&document());
}

#[test]
fn document_has_each_accepted_key_once() {
    let tables = tables();
    let accepted: Vec<_> = tables
        .iter()
        .flat_map(|table| table.keys.iter().map(|key| format!("{}.{}", table.name, key.name)))
        .collect();
    let mut documented = Vec::new();
    for line in TEMPLATE.lines() {
        if let Some(Directive::Keys { table, keys }) = directive(line) {
            documented.extend(keys.iter().map(|key| format!("{table}.{key}")));
        }
    }
    assert_eq!(documented.len(), accepted.len());
    assert_eq!(documented.iter().collect::<BTreeSet<_>>(), accepted.iter().collect());
    for table in tables {
        let mut accepted: Vec<_> = table.keys.iter().map(|key| key.name).collect();
        accepted.sort_unstable();
        assert_eq!(accepted, table.properties, "{}", table.name);
    }
}

#[test]
fn every_key_has_description_kinds_and_example() {
    for table in tables() {
        for key in &table.keys {
            let description = key.description();
            assert!(
                description.ends_with('.') && !description.contains('|'),
                "{}: {description}",
                key.name
            );
            assert!(!key.kinds.is_empty() && key.example().is_some(), "{}", key.name);
            assert!(!(key.is_required && key.default().is_some()), "{}", key.name);
        }
    }
}

#[test]
fn lines_of_the_prose_are_not_longer_than_100_columns() {
    let is_prose = |line: &&str| !line.starts_with('|') && directive(line).is_none();
    for line in TEMPLATE.lines().filter(is_prose) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

/// A folder with the files that examples name.
struct Files(tempfile::TempDir);

/// Folders in examples that stand for the folder with the files.
const EXAMPLE_FOLDERS: [&str; 2] = ["/run/secrets", "/etc/rolecall"];

impl Files {
    fn create() -> Self {
        let files = Files(tempfile::tempdir().expect("a directory"));
        for name in ["redis", "sentinel"] {
            std::fs::write(files.path().join(name), "secret\n").expect("a file");
        }
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                         -subj /CN=rolecall -keyout client.key -out client.pem";
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(files.path())
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{output:?}");
        std::fs::copy(files.path().join("client.pem"), files.path().join("ca.pem"))
            .expect("a file");
        files
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads a configuration whose examples of paths stand for the files.
    fn load(&self, text: &str) -> Result<Settings, String> {
        let folder = self.path().display().to_string();
        let text =
            EXAMPLE_FOLDERS.iter().fold(text.to_owned(), |text, name| text.replace(name, &folder));
        let path = self.path().join("rolecall.toml");
        std::fs::write(&path, text).expect("a file");
        Settings::check(&path).map_err(|error| error.to_string())
    }
}

#[test]
fn example_files_are_valid_and_of_their_kind() {
    let files = Files::create();
    for kind in KINDS {
        let text = std::fs::read_to_string(example_path(&format!("{kind}.toml"))).expect(kind);
        let settings = files.load(&text).expect(kind);
        for settings in &settings.deployments {
            assert_eq!(settings.deployment.kind.label(), kind);
        }
        assert_eq!(settings.warnings, Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn example_urls_are_valid() {
    let urls: Vec<_> = TEMPLATE
        .split(['`', ' ', '\n'])
        .filter(|text| text.contains("://") && !text.contains(['[', '.', '"']) || is_example(text))
        .filter(|text| !text.contains("PASSWORD") && !text.ends_with("://"))
        .filter(|text| !text.starts_with("unix:///PATH"))
        .collect();
    assert!(urls.len() >= 8, "{urls:?}");
    for url in urls {
        urls::load(&[url.to_owned()]).expect(url);
    }
}

/// Returns whether a text is the URL of an IP address.
fn is_example(text: &str) -> bool {
    ["redis://10.", "redis://[fd00", "sentinel://10."].iter().any(|start| text.starts_with(start))
}

/// Returns a valid deployment of a kind with as few keys as possible.
fn minimal_deployment(kind: &str) -> Value {
    match kind {
        "static" => json!({ "name": "a", "nodes": [{ "url": "redis://10.0.0.5:6379" }] }),
        "sentinel" => json!({
            "name": "a",
            "sentinels": [{ "url": "redis://10.0.0.5:26379" }],
            "master_name": "mymaster"
        }),
        "cluster" => json!({ "name": "a", "cluster": [{ "url": "redis://10.0.0.5:6379" }] }),
        "dns" => json!({ "name": "a", "dns": [{ "url": "redis://redis.example" }] }),
        kind => panic!("unknown kind {kind}"),
    }
}

/// Returns the path from the deployment to the table of a key.
fn path_in_deployment(table: &str, kind: &str) -> Vec<&'static str> {
    match (table, kind) {
        ("deployment", _) => vec![],
        ("nodes", _) => vec!["nodes", "0"],
        ("server", "cluster") => vec!["cluster", "0"],
        ("server", "dns") => vec!["dns", "0"],
        ("server", _) => vec!["sentinels", "0"],
        ("tls", _) => vec!["tls"],
        ("cadence", _) => vec!["cadence"],
        ("expect", _) => vec!["expect"],
        ("endpoints", _) => vec!["endpoints"],
        ("endpoint", _) => vec!["endpoints", "primary"],
        (table, _) => panic!("unknown table {table}"),
    }
}

/// Returns the table at a path. Creates what is missing.
fn table_at<'a>(root: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut value = root;
    for step in path {
        value = match step.parse::<usize>() {
            Ok(index) => {
                if value.is_null() {
                    *value = json!([{}]);
                }
                &mut value[index]
            }
            Err(_) => &mut value[*step],
        };
    }
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().expect("a table")
}

/// Returns a file with a deployment of a kind, and the example of a key in it. Adds the keys that
/// the key requires.
fn file_with_example(table: &Table, key: &Key, kind: &str) -> String {
    let mut deployment = minimal_deployment(kind);
    let mut file = json!({});
    let example = key.example().expect("an example").clone();
    if ["file", "web", "log"].contains(&table.name) {
        let path = if table.name == "file" { vec![] } else { vec![table.name] };
        table_at(&mut file, &path).insert(key.name.to_owned(), example);
    } else {
        let path = path_in_deployment(table.name, kind);
        let entry = table_at(&mut deployment, &path);
        if ["nodes", "server", "endpoint"].contains(&table.name) {
            entry.entry("url").or_insert("redis://10.0.0.5:6379".into());
        }
        entry.insert(key.name.to_owned(), example);
        for required in ["cert_file", "key_file"] {
            if ["cert_file", "key_file"].contains(&key.name) {
                let example = table.key(required).example().expect("an example");
                entry.entry(required).or_insert(example.clone());
            }
        }
        if kind == "sentinel" && deployment.get("tls").is_some() {
            deployment["scheme"] = "rediss".into();
        }
    }
    if file.get("deployment").is_none() {
        file["deployment"] = json!([deployment]);
    }
    file_text(&file)
}

fn file_text(file: &Value) -> String {
    let lines = file.as_object().expect("a table").iter();
    lines.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect()
}

#[test]
fn example_of_every_key_is_valid_in_its_kinds_only() {
    let files = Files::create();
    let (mut valid, mut invalid) = (0, 0);
    for table in tables() {
        for key in &table.keys {
            for kind in KINDS {
                let text = file_with_example(&table, key, kind);
                let result = files.load(&text);
                let context = format!("{} in {kind}: {text}", key.name);
                if key.kinds.contains(&kind) {
                    valid += 1;
                    assert!(result.is_ok(), "{context}: {result:?}");
                } else {
                    invalid += 1;
                    let error = result.expect_err(&context);
                    let key = path_in_deployment(table.name, kind);
                    let key = key.first().unwrap_or(&"deployment");
                    assert!(error.contains(key), "{context}: {error}");
                }
            }
        }
    }
    assert!(valid > 200 && invalid > 60, "{valid} {invalid}");
}

/// Returns the effective configuration of a file.
fn effective(settings: &Settings) -> Value {
    Figment::from(Toml::string(&settings.effective())).extract().expect("TOML")
}

#[test]
fn documented_defaults_are_the_effective_ones() {
    let files = Files::create();
    let mut defaults = 0;
    for kind in KINDS {
        let mut minimal = minimal_deployment(kind);
        let minimal_text = file_text(&json!({ "deployment": [minimal.clone()] }));
        let without_tls = effective(&files.load(&minimal_text).expect(kind));
        // The effective configuration has the table `tls` only if a URL uses TLS.
        minimal["tls"] = json!({ "server_name": "redis.example" });
        let text = file_text(&json!({ "deployment": [minimal] })).replace("redis://", "rediss://");
        let text = text.replace(
            "name = \"a\"",
            if kind == "sentinel" { "name = \"a\", scheme = \"rediss\"" } else { "name = \"a\"" },
        );
        let with_tls = effective(&files.load(&text).expect(kind));
        for table in tables() {
            let file = if table.name == "tls" { &with_tls } else { &without_tls };
            let base = match table.name {
                "file" => file.clone(),
                "web" | "log" => file[table.name].clone(),
                _ if !table.is_valid_in(kind) => continue,
                _ => path_in_deployment(table.name, kind).iter().fold(
                    file["deployment"][0].clone(),
                    |value, step| match step.parse::<usize>() {
                        Ok(index) => value[index].clone(),
                        Err(_) => value[step].clone(),
                    },
                ),
            };
            for key in table.keys.iter().filter(|key| key.kinds.contains(&kind)) {
                defaults += u32::from(key.default().is_some());
                check_default(&table, key, &base, &minimal_text);
            }
        }
    }
    assert!(defaults > 40, "{defaults}");
}

/// Checks the effective value of a key that is not in the file.
fn check_default(table: &Table, key: &Key, effective: &Value, minimal: &str) {
    let context = format!("{}.{}: {effective}", table.name, key.name);
    let is_set = key.is_required
        || minimal.contains(&format!("{} = ", key.name)) && table.name == "deployment";
    // The default is the address, as the description states.
    let is_derived_name = key.name == "name" && ["nodes", "server"].contains(&table.name);
    // Required in the table.
    let is_in_test = table.name == "tls" && key.name == "server_name";
    if is_set || key.is_table() || is_derived_name || is_in_test {
        return;
    }
    assert_eq!(effective.get(key.name), key.default(), "{context}");
}

#[test]
fn derived_defaults_follow_the_interval() {
    let files = Files::create();
    for (interval, deadline, down_after) in
        [("500ms", "400ms", "3s"), ("1s", "800ms", "3s"), ("2s", "1s", "6s")]
    {
        let mut deployment = minimal_deployment("static");
        deployment["interval"] = interval.into();
        let text = file_text(&json!({ "deployment": [deployment] }));
        let effective = effective(&files.load(&text).expect(interval));
        let deployment = &effective["deployment"][0];
        assert_eq!(
            (&deployment["deadline"], &deployment["down_after"]),
            (&json!(deadline), &json!(down_after))
        );
    }
}
