//! Limits the memory of a process with a control group.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of the hierarchy that limits memory: of control groups version 1 and 2.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];

/// Control group with a memory limit. It is removed when the value is dropped, so its processes
/// must have ended before.
pub struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// The memory limit in `deploy/kubernetes.yaml`, bytes.
    pub const KUBERNETES: u64 = 128 << 20;

    /// Creates a group whose processes may use this number of bytes together.
    pub fn new(name: &str, bytes: u64) -> Self {
        for hierarchy in HIERARCHIES {
            let folder =
                Path::new(hierarchy).join(format!("rolecall-{name}-{}", std::process::id()));
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = MemoryLimit { folder };
            let limits = ["memory.limit_in_bytes", "memory.max"];
            if limits.iter().any(|file| group.write(file, &bytes.to_string()).is_ok()) {
                // Without swap, in version 2.
                let _ = group.write("memory.swap.max", "0");
                return group;
            }
        }
        panic!("no control group can limit memory");
    }

    /// Returns a command that runs a program in the group.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let processes = self.folder.join("cgroup.procs");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(processes).arg(program);
        command
    }

    /// Returns the highest memory use of the group so far, bytes.
    pub fn highest(&self) -> u64 {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        let text =
            files.iter().find_map(|file| std::fs::read_to_string(self.folder.join(file)).ok());
        text.and_then(|text| text.trim().parse().ok()).expect("a file with the highest use")
    }

    fn write(&self, file: &str, value: &str) -> std::io::Result<()> {
        // Opening for writing would create the file in a folder that is no control group.
        let path = self.folder.join(file);
        if path.exists() {
            std::fs::write(path, value)
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // It stays if a process of it still runs.
        let _ = std::fs::remove_dir(&self.folder);
    }
}
