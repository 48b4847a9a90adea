//! Syntax of every code block in the Markdown files and of every configuration file in `deploy/`,
//! and values that tests share with these files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use config::Settings;
use serde::Deserialize;
use serde_yaml_ng::Value;
use tests::MemoryLimit;
use tests::repository::{files, root};

/// Languages of code blocks. The blocks of the last three are not parsed.
const LANGUAGES: [&str; 7] = ["toml", "yaml", "sh", "json", "text", "console", "promql"];

/// A code block, or a whole file.
struct Block {
    /// File, and line of the opening fence.
    location: String,
    language: String,
    text: String,
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the fenced code blocks of a Markdown file, without the indentation of their fences.
fn blocks_of(name: &str) -> Vec<Block> {
    let text = read(name);
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indentation = line.len() - line.trim_start().len();
        let mut block = String::new();
        let closed = lines.by_ref().any(|(_, line)| {
            if line.trim() == "```" {
                return true;
            }
            block += line.get(indentation..).unwrap_or_default();
            block.push('\n');
            false
        });
        let location = format!("{name}:{}", number + 1);
        assert!(closed, "{location}: the code block has no end");
        blocks.push(Block { location, language: language.trim().to_owned(), text: block });
    }
    blocks
}

/// Returns the code blocks of all Markdown files, and the files in `deploy/` as blocks.
fn blocks() -> Vec<Block> {
    let mut blocks: Vec<_> = files(&["md"]).iter().flat_map(|name| blocks_of(name)).collect();
    for name in files(&["toml", "yaml", "yml", "sh", "json"]) {
        if name.starts_with("deploy/") {
            let language = match name.rsplit('.').next() {
                Some("yml") => "yaml",
                Some(extension) => extension,
                None => unreachable!("the file has an extension"),
            };
            let (language, text) = (language.to_owned(), read(&name));
            blocks.push(Block { location: name, language, text });
        }
    }
    blocks
}

/// Replaces the paths of secrets and of a certificate authority by those of files that exist.
fn with_existing_files(text: &str, directory: &Path) -> String {
    let (secret, authority) = (directory.join("secret"), directory.join("ca.pem"));
    std::fs::write(&secret, "secret\n").expect("a file");
    let mut text = text.to_owned();
    for path in ["/run/secrets/redis", "/run/secrets/sentinel"] {
        text = text.replace(path, &secret.display().to_string());
    }
    if text.contains("/etc/rolecall/ca.pem") {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=ca", "-keyout", "/dev/null", "-out"])
            .arg(&authority)
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text = text.replace("/etc/rolecall/ca.pem", &authority.display().to_string());
    }
    text
}

/// Returns an error if the block is not valid in its language.
fn check(block: &Block) -> Result<(), String> {
    match &*block.language {
        "toml" => {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("rolecall.toml");
            let text = with_existing_files(&block.text, directory.path());
            std::fs::write(&file, text).expect("a file");
            Settings::check(&file).map(drop).map_err(|error| error.to_string())
        }
        "yaml" => serde_yaml_ng::Deserializer::from_str(&block.text)
            .try_for_each(|document| Value::deserialize(document).map(drop))
            .map_err(|error| error.to_string()),
        "json" => serde_json::from_str::<serde_json::Value>(&block.text)
            .map(drop)
            .map_err(|error| error.to_string()),
        "sh" => {
            let mut bash = Command::new("bash")
                .arg("-n")
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("bash");
            let mut input = bash.stdin.take().expect("standard input");
            input.write_all(block.text.as_bytes()).expect("a script");
            drop(input);
            let output = bash.wait_with_output().expect("bash");
            let problem = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(problem) }
        }
        _ => Ok(()),
    }
}

#[test]
fn every_code_block_names_its_language() {
    let unnamed: Vec<_> = blocks()
        .iter()
        .filter(|block| !LANGUAGES.contains(&&*block.language))
        .map(|block| format!("{}: {:?}", block.location, block.language))
        .collect();
    assert!(unnamed.is_empty(), "expected one of {LANGUAGES:?}:\n{}", unnamed.join("\n"));
}

#[test]
fn every_code_block_is_valid() {
    let blocks = blocks();
    for language in ["toml", "yaml", "sh"] {
        let count = blocks.iter().filter(|block| block.language == language).count();
        assert!(count >= 4, "{count} blocks of {language}");
    }
    let invalid: Vec<_> = blocks
        .iter()
        .filter_map(|block| Some(format!("{}: {}", block.location, check(block).err()?)))
        .collect();
    assert!(invalid.is_empty(), "{}", invalid.join("\n"));
}

#[test]
fn an_invalid_block_is_reported() {
    for (language, text) in [
        ("toml", "[[deployment]]\nname = 'a'\nnods = []\n"),
        ("yaml", "a: [1\n"),
        ("json", "{"),
        ("sh", "if true\n"),
    ] {
        let (location, language) = (language.to_owned(), language.to_owned());
        let block = Block { location, language, text: text.to_owned() };
        assert!(check(&block).is_err(), "{}", block.language);
    }
}

/// Every relative link in a Markdown file leads to a file of the repository.
#[test]
fn every_relative_link_has_a_target() {
    let mut broken = Vec::new();
    for name in files(&["md"]) {
        // The links of this template are those of the file that is generated from it.
        if name == "crates/config/src/reference/configuration.md" {
            continue;
        }
        let text = read(&name);
        let folder = Path::new(&name).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let is_relative =
                !target.is_empty() && !target.contains("://") && !target.contains(' ');
            if is_relative && !root().join(&folder).join(target).exists() {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The tests run Rolecall under the memory limit of the manifest.
#[test]
fn manifest_has_the_memory_limit_of_the_tests() {
    let text = read("deploy/kubernetes.yaml");
    let documents = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("YAML"));
    let deployment = documents.into_iter().find(|document| document["kind"] == "Deployment");
    let pod = &deployment.expect("a Deployment")["spec"]["template"]["spec"];
    let limit = &pod["containers"][0]["resources"]["limits"]["memory"];
    let expected = format!("{}Mi", MemoryLimit::KUBERNETES >> 20);
    assert_eq!(limit.as_str(), Some(expected.as_str()));
}
