//! Tests of the document: it is complete, and what it states is true.

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
fn examples_of_services_are_valid_and_use_their_preset() {
    let files = Files::create();
    for preset in ["elasticache", "azure"] {
        let path = example_path(&format!("{preset}.toml"));
        let settings = files.load(&std::fs::read_to_string(path).expect(preset)).expect(preset);
        let [deployment] = &settings.deployments[..] else { panic!("{settings:?}") };
        assert_eq!(deployment.deployment.preset.as_deref(), Some(preset));
        let credentials = &deployment.endpoints[0].credentials;
        assert!(matches!(credentials.password, Some(client::Password::File(_))), "{preset}");
        assert_eq!(settings.warnings, Vec::<String>::new(), "{preset}");
    }
}

#[test]
fn documented_urls_are_valid() {
    let is_url =
        |text: &&str| text.contains("://") && !text.contains("http") && *text != "redis://";
    let mut kinds = BTreeSet::new();
    let mut urls = 0;
    for text in TEMPLATE.split(['`', ' ', '"', '\n']).filter(is_url) {
        // A form with optional parts, an abbreviated form, or an example.
        let forms = [without_optional_parts(text), text.replace("[/", "/").replace(['[', ']'], "")];
        let forms = if text.contains("[USER") { forms.to_vec() } else { vec![text.to_owned()] };
        for form in forms {
            let url = form.replace("...", "HOST").replace("PORT", "7000");
            if !url.ends_with("://") {
                let settings = urls::load(std::slice::from_ref(&url)).expect(&url).expect("a node");
                kinds.insert(settings.deployment.kind.label());
                urls += 1;
            }
        }
    }
    assert_eq!(kinds, BTreeSet::from(["sentinel", "static"]));
    assert!(urls > 20, "{urls}");
}

/// Removes the parts of a URL in brackets.
fn without_optional_parts(form: &str) -> String {
    form.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
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
        ("limits", _) => vec!["limits"],
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
    if let Some(path) = table.path_in_file() {
        table_at(&mut file, path).insert(key.name.to_owned(), example);
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
    let lines: Vec<_> = lines.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect();
    lines.concat()
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
                    let path = path_in_deployment(table.name, kind);
                    let cause = path.first().unwrap_or(&key.name);
                    assert!(error.contains(cause), "{context}: {error}");
                }
            }
        }
    }
    assert!(valid > 200 && invalid > 60, "{valid} {invalid}");
}

#[test]
fn documented_defaults_are_the_effective_ones() {
    let files = Files::create();
    let mut defaults = 0;
    for kind in KINDS {
        let minimal = minimal_deployment(kind);
        let without_tls = load_effective(&files, &minimal);
        let with_tls = load_effective(&files, &deployment_with_tls(kind));
        for table in tables() {
            let file = if table.name == "tls" { &with_tls } else { &without_tls };
            let pointer = match table.path_in_file() {
                Some(path) => [&[""], path].concat().join("/"),
                None if table.is_valid_in(kind) => {
                    let path = path_in_deployment(table.name, kind);
                    [&["/deployment/0"], &path[..]].concat().join("/")
                }
                None => continue,
            };
            let table_value = file.pointer(&pointer);
            for key in table.keys.iter().filter(|key| key.kinds.contains(&kind)) {
                if table.name == "deployment" && minimal.get(key.name).is_some() {
                    continue;
                }
                defaults += u32::from(key.default().is_some());
                check_default(&table, key, table_value);
            }
        }
    }
    assert!(defaults >= 50, "{defaults}");
}

/// Returns a deployment whose effective configuration has the table `tls`.
fn deployment_with_tls(kind: &str) -> Value {
    let mut deployment = minimal_deployment(kind);
    deployment["tls"] = json!({ "server_name": "redis.example" });
    match kind {
        "static" => deployment["nodes"][0]["url"] = "rediss://10.0.0.5:6379".into(),
        "sentinel" => deployment["scheme"] = "rediss".into(),
        kind => deployment[kind][0]["url"] = "rediss://redis.example".into(),
    }
    deployment
}

/// Returns the effective configuration of a file with one deployment.
fn load_effective(files: &Files, deployment: &Value) -> Value {
    let text = file_text(&json!({ "deployment": [deployment] }));
    let settings = files.load(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Figment::from(Toml::string(&settings.effective())).extract().expect("TOML")
}

/// Checks the effective value of a key that is not in the file.
fn check_default(table: &Table, key: &Key, effective: Option<&Value>) {
    // The default is the address. The name of the server is in the deployment with TLS.
    let is_described =
        matches!((table.name, key.name), ("nodes" | "server", "name") | ("tls", "server_name"));
    if !(key.is_required || key.is_table() || is_described) {
        let actual = effective.and_then(|table| table.get(key.name));
        assert_eq!(actual, key.default(), "{}.{}", table.name, key.name);
    }
}

#[test]
fn derived_defaults_follow_the_interval() {
    let files = Files::create();
    for (interval, deadline, down_after) in
        [("500ms", "400ms", "3s"), ("1s", "800ms", "3s"), ("2s", "1s", "6s")]
    {
        let mut deployment = minimal_deployment("static");
        deployment["interval"] = interval.into();
        let effective = load_effective(&files, &deployment);
        let deployment = &effective["deployment"][0];
        assert_eq!(
            (&deployment["deadline"], &deployment["down_after"]),
            (&json!(deadline), &json!(down_after))
        );
    }
}

#[test]
fn preset_has_the_documented_defaults() {
    let files = Files::create();
    let tables = tables();
    let deployment = tables.iter().find(|table| table.name == "deployment").expect("a table");
    let description = deployment.key("preset").description();
    let mut minimal = minimal_deployment("static");
    minimal["preset"] = "managed".into();
    let effective = load_effective(&files, &minimal);
    let effective = &effective["deployment"][0];
    assert!(description.contains(&format!("interval = {}", toml(&effective["interval"]))));
    for (key, value) in effective["cadence"].as_object().expect("a table") {
        assert!(description.contains(&format!("{key} = {}", toml(value))), "{key}");
    }
}
