//! Disks that are full, and disks that fail.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small disk of its own, as long as the value lives.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts one that holds that many megabytes.
    pub fn of(megabytes: u32) -> Self {
        let disk = Disk(tempfile::tempdir().expect("a directory"));
        let size = format!("size={megabytes}m");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "rolecall-test"])
            .arg(disk.path())
            .status()
            .expect("mount");
        assert!(status.success(), "mounting needs root");
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The same, as an option of a server.
    pub fn folder(&self) -> String {
        self.path().display().to_string()
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Takes back what [`Disk::fill`] did.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that still runs must not keep the mount.
        let status = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "cannot unmount {}",
            self.folder()
        );
    }
}

/// What stands between a server and the system: as long as it is told to, every fsync fails with EIO or takes its time, or every fork does.
pub struct Shim(TempDir);

impl Shim {
    const SHIM: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stdlib.h>
        #include <unistd.h>
        static int meddle(int fd, const char *name) {
            const char *fails = getenv("FSYNC_FAILS"), *slow = getenv("FSYNC_SLOW");
            if (slow && access(slow, F_OK) == 0) sleep(6);
            if (fails && access(fails, F_OK) == 0) { errno = EIO; return -1; }
            return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
        }
        pid_t fork(void) {
            const char *slow = getenv("FORK_SLOW");
            if (slow && access(slow, F_OK) == 0) sleep(2);
            return ((pid_t (*)(void)) dlsym(RTLD_NEXT, "fork"))();
        }
        int fsync(int fd) { return meddle(fd, "fsync"); }
        int fdatasync(int fd) { return meddle(fd, "fdatasync"); }
    "#;

    /// Builds it. It does nothing yet.
    pub fn build() -> Self {
        let shim = Shim(tempfile::tempdir().expect("a directory"));
        std::fs::write(shim.at("shim.c"), Self::SHIM).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.args([
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            &shim.at("shim.so"),
            &shim.at("shim.c"),
            "-ldl",
        ]);
        assert!(compiler.status().expect("cc").success(), "the shim does not compile");
        shim
    }

    /// The environment of the server that it stands before.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let [library, fails, slow, slow_fork] =
            ["shim.so", "fails", "slow", "slow_fork"].map(|file| self.at(file));
        [
            ("LD_PRELOAD", library),
            ("FSYNC_FAILS", fails),
            ("FSYNC_SLOW", slow),
            ("FORK_SLOW", slow_fork),
        ]
    }

    /// Every fsync fails from now on.
    pub fn fail_fsync(&self) {
        File::create(self.at("fails")).expect("a flag");
    }

    /// Every fsync takes six seconds from now on.
    pub fn slow_fsync(&self) {
        File::create(self.at("slow")).expect("a flag");
    }

    /// Every fork takes two seconds from now on, as that of a large process may.
    pub fn slow_fork(&self) {
        File::create(self.at("slow_fork")).expect("a flag");
    }

    /// All is fine again.
    pub fn mend(&self) {
        for flag in ["fails", "slow", "slow_fork"] {
            // It may not be raised.
            let _ = std::fs::remove_file(self.at(flag));
        }
    }

    fn at(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }
}
