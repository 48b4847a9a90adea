//! Style rules that a tool can check: line length and the first word of doc comments.

use std::path::Path;

use tests::repository;

/// Longest line, characters.
const COLUMNS: usize = 100;

/// First words that make a doc comment a riddle: it should begin with a noun phrase or a verb.
const FIRST_WORDS: [&str; 8] = ["How", "That", "What", "When", "Where", "Whether", "Who", "Why"];

/// Files with lines that a program writes or that other programs define.
const EXEMPT: [&str; 3] =
    ["crates/catalog/REFERENCE.md", "crates/snapshot/captures/", "crates/config/src/reference/"];

/// Returns name and text of the files in the repository that have one of these extensions.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let names = repository::files(extensions).into_iter();
    let names = names.filter(|name| !EXEMPT.iter().any(|exempt| name.starts_with(exempt)));
    let read = |name: String| {
        let text = std::fs::read_to_string(repository::root().join(&name)).ok()?;
        Some((name, text))
    };
    let files: Vec<_> = names.filter_map(read).collect();
    assert!(files.len() > 3, "{extensions:?}: {} files", files.len());
    files
}

#[test]
fn no_line_exceeds_100_columns() {
    let mut long = Vec::new();
    for (name, text) in files(&["rs", "sh", "py", "md", "css"]) {
        let is_markdown = Path::new(&name).extension().is_some_and(|extension| extension == "md");
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            // Tables, links and commands cannot be wrapped.
            in_code ^= is_markdown && line.trim_start().starts_with("```");
            let is_table = line.trim_start().starts_with('|') || line.contains("://");
            if line.chars().count() > COLUMNS && !in_code && !(is_markdown && is_table) {
                long.push(format!("{name}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    assert!(long.is_empty(), "{} lines\n{}", long.len(), long.join("\n"));
}

#[test]
fn doc_comments_begin_with_a_noun_phrase_or_a_verb() {
    let mut riddles = Vec::new();
    for (name, text) in files(&["rs"]) {
        let mut in_comment = false;
        for (number, line) in text.lines().enumerate() {
            let comment =
                line.trim_start().strip_prefix("///").or(line.trim_start().strip_prefix("//!"));
            let first_word = comment.and_then(|comment| comment.split_whitespace().next());
            if !in_comment && first_word.is_some_and(|word| FIRST_WORDS.contains(&word)) {
                riddles.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
            in_comment = comment.is_some();
        }
    }
    assert!(riddles.is_empty(), "{} comments\n{}", riddles.len(), riddles.join("\n"));
}

#[test]
fn test_names_have_at_most_60_characters() {
    let mut long = Vec::new();
    for (name, text) in files(&["rs"]) {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() != "#[test]" && !line.trim().starts_with("#[tokio::test") {
                continue;
            }
            let function = lines.find_map(|line| line.trim().strip_prefix("fn "));
            let function = function.and_then(|rest| rest.split('(').next()).unwrap_or_default();
            if function.len() > 60 {
                long.push(format!("{name}: {function}"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
