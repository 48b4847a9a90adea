//! Files of the repository, for tests that check texts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the tracked and new files of the repository that have one of these extensions.
pub fn files(extensions: &[&str]) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git");
    assert!(output.status.success(), "git ls-files");
    let names = String::from_utf8(output.stdout).expect("file names in UTF-8");
    let has_extension = |name: &&str| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    let mut files: Vec<_> = names.lines().filter(has_extension).map(str::to_owned).collect();
    files.retain(|name| root().join(name).is_file());
    files
}
