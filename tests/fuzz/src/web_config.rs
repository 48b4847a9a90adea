//! The web configuration file.

use std::path::Path;

use exporter::WebConfigFile;
use serde_yaml_ng::Value;

/// A password that somebody wrote instead of its hash.
const PASSWORD: &str = "s3cret-of-fuzz";

/// A password of digits only.
const NUMBER: &str = "730544187923";

/// A valid hash.
const HASH: &str = "$2b$10$vI8aWBnW3fID.ZQ4/zo1G.q1lRps.9cGLcZEiGDMVr5yUP1KUOYTa";

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(error) = WebConfigFile::parse(text) {
        let length = format!("{error:#}").chars().count();
        assert!(length <= 2000 + 10 * text.len(), "{length} characters");
    }
    let Ok(document) = serde_yaml_ng::from_str::<Value>(text) else { return };
    let secrets = [(PASSWORD, PASSWORD.into()), (HASH, HASH.into()), (NUMBER, number())];
    for (shown, secret) in secrets.iter().filter(|(shown, _)| !text.contains(shown)) {
        check_with_secret(shown, document.clone(), secret);
    }
}

/// Returns the password of digits as a number.
fn number() -> Value {
    Value::from(NUMBER.parse::<u64>().expect("a number"))
}

/// Checks that a secret is never shown, wherever the document has hashes.
fn check_with_secret(shown: &str, mut document: Value, secret: &Value) {
    if !document.is_mapping() {
        replace(&mut document, secret);
    } else if let Some(users) = document.get_mut("basic_auth_users") {
        replace(users, secret);
    } else {
        return;
    }
    let Ok(text) = serde_yaml_ng::to_string(&document) else { return };
    let output = match WebConfigFile::parse(&text) {
        Ok(file) => format!("{file:?}"),
        Err(error) => format!("{error:#}"),
    };
    assert!(!output.contains(shown), "a secret is shown: {output}");
}

/// Replaces all values, but no keys.
fn replace(value: &mut Value, secret: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => *value = secret.clone(),
        Value::Sequence(values) => values.iter_mut().for_each(|value| replace(value, secret)),
        Value::Mapping(map) => map.values_mut().for_each(|value| replace(value, secret)),
        Value::Tagged(tagged) => replace(&mut tagged.value, secret),
    }
}

pub(super) fn seeds(_: &Path) -> Vec<Vec<u8>> {
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  \
        client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n  \
        min_version: TLS13\n";
    let users = format!("basic_auth_users:\n  prometheus: {HASH}\n  \"a b\": '{HASH}'\n");
    let texts = [
        tls.to_owned(),
        users.clone(),
        format!("{tls}{users}"),
        format!("# comment\n---\n{{basic_auth_users: {{a: &x {HASH}, b: *x}}}}\n"),
        "basic_auth_users: {a: 5, b: [x], c: {d: e}, d: !tag f, e: 1.5, f: true}".to_owned(),
        "basic_auth_users: {a: 5}".to_owned(),
        "basic_auth_users: [x, 5]".to_owned(),
        "basic_auth_users: !x y".to_owned(),
        "basic_auth_users: {a: !x y}".to_owned(),
        "basic_auth_users: 5".to_owned(),
        "tls_server_config: {min_version: TLS10, client_auth_type: x}".to_owned(),
        "unknown: 1\n".to_owned(),
        "password\n".to_owned(),
        "- 5\n- x\n".to_owned(),
        "5".to_owned(),
        "!x y".to_owned(),
        String::new(),
    ];
    texts.map(String::into_bytes).to_vec()
}
