//! Files that are FIFOs or devices, on file systems that hang, or in use by another exporter.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{
    Daemon, HangingMount, Process, Redis, SECOND, Signal, Stopwatch, deployment, eventually, pause,
};

/// Limit for a reaction that does not wait for a file.
const AT_ONCE: Duration = SECOND;

/// A daemon and the folder of its files.
struct DaemonWithFiles {
    daemon: Daemon,
    folder: TempDir,
}

impl DaemonWithFiles {
    /// Starts a daemon whose state file is `state/state.json`. `config` and `state` are symlinks to
    /// `config-0` and `state-0`.
    fn start(server: &Redis) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let path = |name: &str| folder.path().join(name);
        let state = path("state/state.json");
        let text = format!("state_file = '{}'\n{}", state.display(), deployment("a", &[server]));
        std::fs::write(path("config-0"), text).expect("a file");
        std::fs::create_dir(path("state-0")).expect("a directory");
        symlink("config-0", path("config")).expect("a symlink");
        symlink("state-0", path("state")).expect("a symlink");
        let daemon = Daemon::serve(&["--config.file", &path("config").display().to_string()]);
        DaemonWithFiles { daemon, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces what a symlink leads to.
    fn lead(&self, name: &str, to: &Path) {
        std::fs::remove_file(self.path(name)).expect("a symlink");
        symlink(to, self.path(name)).expect("a symlink");
    }

    fn count_logged(&self, text: &str) -> usize {
        self.daemon.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Sends SIGHUP, and waits until a line with this text is logged. Returns the time waited.
    fn reload_until_logged(&self, limit: Duration, text: &str) -> Duration {
        let before = self.count_logged(text);
        self.daemon.signal(Signal::Hangup);
        eventually(limit, text, || (self.count_logged(text) > before).then_some(())).1
    }

    /// Returns the number of rounds, and of rounds that were missed.
    fn rounds(&self) -> [f64; 2] {
        ["rolecall_rounds_total", "rolecall_rounds_missed_total"]
            .map(|name| self.daemon.value(name).expect(name))
    }

    /// Stops the daemon with SIGTERM, and returns the time that it took.
    fn stop(&mut self, limit: Duration) -> Duration {
        self.daemon.signal(Signal::Term);
        let (status, took) = self.daemon.end(limit);
        assert!(status.success(), "{:?}", self.daemon.log());
        took
    }
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

/// Runs `rolecall serve` until it exits. Returns its output and the time that it took.
fn fail_to_start(arguments: &[&str]) -> (String, Duration) {
    let clock = Stopwatch::start();
    let mut command = Command::new(Daemon::binary());
    let mut process = Process::start(
        command.args(["serve", "--web.listen-address", "127.0.0.1:0"]).args(arguments),
    );
    let (status, _) = process.end(SECOND * 5);
    let took = clock.elapsed();
    assert_eq!(status.code(), Some(1), "{:?}", process.log());
    // The output is complete when its readers have ended, which is not the case at once.
    let (text, _) = eventually(SECOND, "an error", || {
        let text = process.log().join("\n");
        text.contains("error").then_some(text)
    });
    (text, took)
}

#[test]
fn fifo_as_configuration_delays_neither_rounds_nor_signals() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    let fifo = files.path("fifo");
    make_fifo(&fifo);
    files.lead("config", &fifo);
    let failed = files.reload_until_logged(AT_ONCE, "configuration not reloaded");
    assert_eq!(files.count_logged("cannot read the file: not a regular file"), 1);
    assert_eq!(files.daemon.value("rolecall_config_last_reload_successful"), Some(0.0));
    let [before, _] = files.rounds();
    pause(SECOND * 3);
    let [after, missed] = files.rounds();
    assert!(after >= before + 2.0, "{before} and {after} rounds");
    assert!(missed < 0.5, "{missed} rounds were missed");
    files.lead("config", &files.path("config-0"));
    files.reload_until_logged(AT_ONCE, "msg=\"configuration reloaded\"");
    let stopped = files.stop(AT_ONCE);
    println!("the reload failed after {failed:?}, the daemon stopped after {stopped:?}");
}

#[test]
fn fifo_or_device_ends_the_start_with_the_reason() {
    let folder = tempfile::tempdir().expect("a directory");
    let fifo = folder.path().join("fifo");
    make_fifo(&fifo);
    let fifo = fifo.display().to_string();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let node = "[[deployment]]\nname = 'a'\nnodes = [{ url = 'rediss://h' }]\n";
    let config = |name: &str, more: &str| file(name, &format!("{more}\n{node}"));
    let state = config("state.toml", &format!("state_file = '{fifo}'"));
    let device = config("device.toml", "state_file = '/dev/null'");
    let password = file("password.toml", &format!("{node}password_file = '{fifo}'\n"));
    let tls = file("tls.toml", &format!("{node}tls = {{ ca_file = '{fifo}' }}\n"));
    let web =
        file("web.yml", &format!("tls_server_config:\n  cert_file: {fifo}\n  key_file: {fifo}\n"));
    for (arguments, place) in [
        (vec!["--config.file", fifo.as_str()], "cannot read the file"),
        (vec!["--config.file", &state], "state_file: "),
        (vec!["--config.file", &device], "state_file: /dev/null"),
        (vec!["--config.file", &password], "cannot read password_file"),
        (vec!["--config.file", &tls], "cannot read ca_file"),
        (vec!["--web.config.file", &fifo], "--web.config.file: "),
        (vec!["--web.config.file", &web], "key_file: "),
    ] {
        let (text, took) = fail_to_start(&arguments);
        assert!(text.contains(place) && text.contains("not a regular file"), "{place}: {text}");
        assert!(took < AT_ONCE, "{place}: {took:?}");
    }
}

#[test]
fn hanging_mount_with_the_configuration_delays_nothing() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    let mount = HangingMount::start();
    files.lead("config", &mount.path("rolecall.toml"));
    let [before, _] = files.rounds();
    let clock = Stopwatch::start();
    files.daemon.signal(Signal::Hangup);
    let (slowest, _) = eventually(SECOND * 10, "the reload fails", || {
        let page = files.daemon.get("/metrics", "");
        assert_eq!(page.status, 200);
        let failed = files.count_logged("no reply from the file system within 5s") > 0;
        pause(SECOND / 10);
        failed.then_some(page.took)
    });
    let failed = clock.elapsed();
    let [after, missed] = files.rounds();
    assert!(after >= before + 4.0, "{before} and {after} rounds in {failed:?}");
    assert!(missed < 0.5, "{missed} rounds were missed");
    // The thread still waits. Another one would wait too.
    let again = files.reload_until_logged(AT_ONCE, "an earlier access still waits");
    let stopped = files.stop(AT_ONCE);
    println!(
        "failed after {failed:?} and again after {again:?}, {} rounds meanwhile, a scrape took \
         {slowest:?}, the daemon stopped after {stopped:?}",
        after - before
    );
}

#[test]
fn signal_stops_the_daemon_while_a_reload_hangs() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    let mount = HangingMount::start();
    files.lead("config", &mount.path("rolecall.toml"));
    files.daemon.signal(Signal::Hangup);
    pause(SECOND);
    assert_eq!(files.count_logged("no reply from the file system"), 0, "the reload still waits");
    let stopped = files.stop(AT_ONCE);
    println!("stopped after {stopped:?}");
}

#[test]
fn hanging_mount_with_the_state_file_delays_only_the_stop() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    eventually(SECOND * 10, "the state file is written", || {
        files.path("state-0/state.json").exists().then_some(())
    });
    let mount = HangingMount::start();
    files.lead("state", mount.folder());
    // An event, which is saved.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let [before, _] = files.rounds();
    pause(SECOND * 8);
    let [after, missed] = files.rounds();
    assert!(after >= before + 7.0, "{before} and {after} rounds");
    assert!(missed < 0.5, "{missed} rounds were missed");
    let stopped = files.stop(SECOND * 8);
    assert_eq!(files.count_logged("not written within 5s"), 1, "{:?}", files.daemon.log());
    println!("{} rounds in 8 s, the daemon stopped after {stopped:?}", after - before);
}

#[test]
fn second_daemon_with_the_same_state_file_is_refused() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    let config = files.path("config").display().to_string();
    let (text, took) = fail_to_start(&["--config.file", &config]);
    let expected = format!("is in use by another Rolecall (pid {})", files.daemon.id());
    assert!(text.contains("state_file: ") && text.contains(&expected), "{text}");
    // `diagnose` only reads the file.
    let mut diagnose = Command::new(Daemon::binary());
    let output = diagnose.args(["diagnose", "--config.file", &config]).output().expect("rolecall");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files.daemon.get("/-/ready", "").status, 200);
    // The lock ends with the process, also with a killed one.
    files.daemon.signal(Signal::Kill);
    files.daemon.end(SECOND);
    Daemon::serve(&["--config.file", &config]);
    println!("refused after {took:?}");
}

#[test]
fn state_file_is_written_through_no_symlink() {
    let server = Redis::start(&[]);
    let mut files = DaemonWithFiles::start(&server);
    let victim = files.path("victim");
    std::fs::write(&victim, "precious").expect("a file");
    let new = files.path("state-0/state.json.new");
    // The daemon may have just created its file of this name.
    let place = || {
        let _ = std::fs::remove_file(&new);
        symlink(&victim, &new).ok()
    };
    eventually(SECOND, "the symlink is in its place", place);
    // An event, which is saved.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    eventually(SECOND * 15, "the state file is written", || {
        std::fs::symlink_metadata(&new).is_err().then_some(())
    });
    files.stop(SECOND * 2);
    assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "precious");
    let text = std::fs::read_to_string(files.path("state-0/state.json")).expect("a state file");
    let state: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(state["deployments"]["a"]["primary"], server.address());
}
