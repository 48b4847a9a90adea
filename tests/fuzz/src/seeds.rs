//! Seeds, made from captured replies of real servers.

use std::path::Path;

use client::resp::{Protocol, Scanner, decode};

use super::resp::GENEROUS;

/// Returns the content of all files below a folder whose paths end with `ending`.
pub(super) fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            contents.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            contents.push(std::fs::read(&path).expect("a file"));
        }
    }
    contents
}

/// Returns the captured files of this kind: the end of their names.
pub(super) fn captures(root: &Path, kind: &str) -> Vec<Vec<u8>> {
    files(&root.join("crates/snapshot/captures"), kind)
}

/// Returns the captured replies to commands that begin with one of these texts, as they were on
/// the wire.
pub(super) fn replies(root: &Path, commands: &[&str]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    for transcript in captures(root, ".txt") {
        let exchanges = transcript.split_inclusive(|byte| *byte == b'\n');
        let mut is_wanted = false;
        let mut rest = transcript.as_slice();
        for line in exchanges {
            if let Some(command) = line.strip_prefix(b">>> ") {
                is_wanted = commands.iter().any(|wanted| command.starts_with(wanted.as_bytes()));
            } else if is_wanted {
                let length = Scanner::new(GENEROUS, Protocol::Resp3).advance(rest);
                if let Ok(Some(length)) = length {
                    replies.push(rest[..length].to_vec());
                }
                is_wanted = false;
            }
            rest = &rest[line.len()..];
        }
    }
    replies
}

/// Returns the texts in such replies.
pub(super) fn texts(root: &Path, commands: &[&str]) -> Vec<Vec<u8>> {
    let text = |reply: Vec<u8>| decode(&reply).text().map(|text| text.as_bytes().to_vec());
    replies(root, commands).into_iter().filter_map(text).collect()
}
