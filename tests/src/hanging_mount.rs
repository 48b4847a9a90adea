//! A file system that never replies, as an NFS mount whose server is gone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, eventually};

/// FUSE file system without a server, mounted as long as the value lives. Every access to it waits.
/// Mounting needs root.
pub struct HangingMount {
    folder: TempDir,
    _server: Process,
}

/// Mounts the file system, and never reads the requests of the kernel.
const SCRIPT: &str = "
import ctypes, os, sys, time
device = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={device},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
if libc.mount(b'rolecall-test', sys.argv[1].encode(), b'fuse', 6, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print('mounted', flush=True)
time.sleep(600)
";

impl HangingMount {
    /// Mounts the file system on a new folder.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("cannot create a directory");
        let mut command = Command::new("python3");
        let server = Process::start(command.args(["-c", SCRIPT]).arg(folder.path()));
        eventually(Duration::from_secs(10), "the file system is mounted", || {
            server.log().iter().any(|line| line == "mounted").then_some(())
        });
        HangingMount { folder, _server: server }
    }

    /// Returns the path of a file in the file system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the mount point.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for HangingMount {
    fn drop(&mut self) {
        // The folder cannot be removed while it is mounted.
        let status = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
