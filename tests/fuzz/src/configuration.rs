//! The configuration file, and addresses.

use std::path::Path;

use config::{Settings, address_of};
use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::seeds;
use super::text::check_printable;

/// A password that the configuration must not show.
const SECRET: &str = "s3cret-of-fuzz";

/// Keys of passwords.
const PASSWORDS: [&str; 2] = ["password", "sentinel_password"];

/// Keys whose values are URLs, or lists of URLs.
const URLS: [&str; 5] = ["url", "nodes", "sentinels", "cluster", "dns"];

/// Tables whose keys are names that users choose, and whose values are shown.
const SHOWN: [&str; 3] = ["labels", "assume", "address_map"];

/// Longest error, characters, apart from the text that it quotes.
const MAX_ERROR: usize = 2000;

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // The fuzzer learns the secret and puts it where it is shown, such as into names of keys.
    if text.contains(SECRET) {
        return;
    }
    check_address(text);
    check_text(text);
    if let Ok(mut document) = text.parse::<DocumentMut>() {
        add_secrets(document.as_table_mut(), "");
        check_text(&document.to_string());
    }
}

fn check_text(text: &str) {
    match Settings::parse("rolecall.toml", text) {
        Err(error) => {
            let error = error.to_string();
            check_printable(&error, MAX_ERROR + 10 * text.len());
            assert!(error.starts_with("rolecall.toml"), "{error}");
            check_secret(&error);
        }
        Ok(settings) => {
            check_secret(&format!("{settings:?}{}", settings.warnings.concat()));
            check_settings(&settings);
            let effective = settings.effective();
            check_secret(&effective);
            let again = Settings::parse("effective.toml", &effective);
            let again = again.unwrap_or_else(|error| panic!("{error}\n{effective}"));
            assert_eq!(again.effective(), effective);
        }
    }
}

fn check_secret(text: &str) {
    assert!(!text.contains(SECRET), "a password is shown: {text}");
}

fn check_settings(settings: &Settings) {
    for deployment in &settings.deployments {
        assert!(deployment.data_dirs.len() <= deployment.endpoints.len());
        assert!(deployment.deadline <= deployment.deployment.interval);
        assert!(deployment.deadline.as_nanos() > 0);
        assert_eq!(deployment.for_master("other").is_some(), deployment.covers_all_masters());
    }
    let mut names: Vec<_> =
        settings.deployments.iter().map(|settings| &settings.deployment.name).collect();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

/// Checks that an address that was found in a text is itself an address.
fn check_address(text: &str) {
    if let Some(address) = address_of(text).filter(|address| !address.starts_with('/')) {
        assert_eq!(address_of(&address), Some(address), "{text:?}");
    }
}

/// Puts the password where a document has one or may have one.
fn add_secrets(table: &mut dyn TableLike, parent: &str) {
    for (key, item) in table.iter_mut() {
        let key = key.get().to_owned();
        let is_url = URLS.contains(&&*key) || parent == "endpoints";
        match item {
            _ if SHOWN.contains(&&*key) => {}
            Item::Value(value) => add_to_value(value, &key, is_url),
            Item::Table(table) => add_secrets(table, &key),
            Item::ArrayOfTables(tables) => {
                tables.iter_mut().for_each(|table| add_secrets(table, &key));
            }
            Item::None => {}
        }
    }
}

fn add_to_value(value: &mut Value, key: &str, is_url: bool) {
    match value {
        Value::Array(elements) => {
            elements.iter_mut().for_each(|element| add_to_value(element, key, is_url));
        }
        Value::InlineTable(table) => add_secrets(table, key),
        Value::String(url) if is_url => {
            if let Some((scheme, rest)) = url.value().split_once("://") {
                *value = format!("{scheme}://mon:{SECRET}@{rest}").into();
            }
        }
        _ if PASSWORDS.contains(&key) => *value = SECRET.into(),
        _ => {}
    }
}

pub(super) fn seeds(root: &Path) -> Vec<Vec<u8>> {
    let folder = root.join("crates/config/tests");
    let mut seeds = seeds::files(&folder, ".toml");
    seeds.extend(seeds::files(&root.join("deploy"), ".toml"));
    let access = r#"
        [[deployment]]
        name = "all-{master}"
        sentinels = ["redis://:p@127.0.0.1", { url = "rediss://s2:5000", password = "p" }]
        sentinel_password = "p"
        password = 5
        scheme = "rediss"
        interval = "30y"
        endpoints.primary = { url = "redis://:p@h", password = "p" }
        [[deployment]]
        name = "nodes"
        nodes = ["redis://mon:p@[::1]:7000", { url = "unix:///run/a.sock" }]
        expect = { until = "2026-12-31", replicas = 4294967295 }
    "#;
    let addresses = ["redis://h", "REDISS://h:1", "valkeys://[::1]", "h:1", "unix:///a", "[::1]:7"];
    seeds.extend(addresses.iter().chain(&[access]).map(|text| text.as_bytes().to_vec()));
    seeds
}
