//! Full disks and failing disks.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Small tmpfs, mounted as long as the value lives. Mounting needs root.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts a tmpfs of this size.
    pub fn with_megabytes(megabytes: u32) -> Self {
        let disk = Disk(tempfile::tempdir().expect("cannot create a directory"));
        let size = format!("size={megabytes}m");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "rolecall-test"])
            .arg(disk.path())
            .status()
            .expect("cannot run mount");
        assert!(status.success(), "mount failed: it needs root");
        disk
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the mount point as text, for the options of a server.
    pub fn folder(&self) -> String {
        self.path().display().to_string()
    }

    /// Writes a ballast file until no space is left.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("cannot write a file");
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Removes the ballast file of [`Disk::fill`].
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("cannot remove the ballast file");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Unmount lazily, since a server may still have files open.
        let status = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "cannot unmount {}",
            self.folder()
        );
    }
}

/// `LD_PRELOAD` library that injects faults into a server: fsync fails with EIO, fsync is slow, or
/// fork is slow.
pub struct FaultInjector(TempDir);

impl FaultInjector {
    const SHIM: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stdlib.h>
        #include <unistd.h>
        static int injected(int fd, const char *name) {
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
        int fsync(int fd) { return injected(fd, "fsync"); }
        int fdatasync(int fd) { return injected(fd, "fdatasync"); }
    "#;

    /// Compiles the library. No fault is active at first.
    pub fn build() -> Self {
        let shim = FaultInjector(tempfile::tempdir().expect("cannot create a directory"));
        std::fs::write(shim.at("shim.c"), Self::SHIM).expect("cannot write a file");
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
        assert!(compiler.status().expect("cannot run cc").success(), "the shim does not compile");
        shim
    }

    /// Returns the environment variables that load the library into a server.
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

    /// Makes every fsync fail with EIO.
    pub fn fail_fsync(&self) {
        File::create(self.at("fails")).expect("cannot create the flag file");
    }

    /// Makes every fsync take six seconds longer.
    pub fn slow_fsync(&self) {
        File::create(self.at("slow")).expect("cannot create the flag file");
    }

    /// Makes every fork take two seconds longer, as for a process with much memory.
    pub fn slow_fork(&self) {
        File::create(self.at("slow_fork")).expect("cannot create the flag file");
    }

    /// Deactivates all faults.
    pub fn clear_faults(&self) {
        for flag in ["fails", "slow", "slow_fork"] {
            // The flag file exists only if the fault is active.
            let _ = std::fs::remove_file(self.at(flag));
        }
    }

    fn at(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }
}
