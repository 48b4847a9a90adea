//! Passwords and short-lived tokens in files, which are read again at each connection.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::{Daemon, HangingMount, Redis, SECOND, eventually, pause};

use crate::tls::Certificates;

/// File with a token, which another process replaces atomically.
struct TokenFile(TempDir);

impl TokenFile {
    fn new(token: &str) -> Self {
        let file = TokenFile(tempfile::tempdir().expect("a directory"));
        file.replace(token);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("token")
    }

    /// Replaces the file by another one.
    fn replace(&self, token: &str) {
        let other = self.0.path().join("other");
        std::fs::write(&other, format!("{token}\n")).expect("a file");
        std::fs::rename(other, self.path()).expect("a file");
    }

    /// Writes to the file itself, as a process that does not replace it.
    fn overwrite(&self, content: &str) {
        std::fs::write(self.path(), content).expect("a file");
    }
}

/// Creates the user `rolecall` with this token on a server.
fn create_user(server: &Redis, token: &str) {
    set_user(server, &["on", &format!(">{token}"), "~*", "&*", "+@all"]);
}

fn set_user(server: &Redis, rules: &[&str]) {
    let reply = server.cli(&[&["ACL", "SETUSER", "rolecall"], rules].concat());
    assert_eq!(reply.trim(), "OK", "{reply}");
}

/// Replaces a token in the file and on the server, which accepts both for a moment. Open
/// connections stay.
fn renew(server: &Redis, file: &TokenFile, [old, new]: [&str; 2]) {
    set_user(server, &[&format!(">{new}")]);
    file.replace(new);
    set_user(server, &[&format!("<{old}")]);
}

/// Returns the IDs of the connections of the user `rolecall`.
fn connections(server: &Redis) -> Vec<String> {
    let list = server.cli(&["CLIENT", "LIST"]);
    let of_user = list.lines().filter(|line| line.contains(" user=rolecall "));
    of_user.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Ends the connections of the user `rolecall`, as a service does when a token expires.
fn expire(server: &Redis) {
    let reply = server.cli(&["CLIENT", "KILL", "USER", "rolecall"]);
    assert!(reply.trim().parse::<u32>().is_ok_and(|ended| ended >= 1), "{reply}");
}

/// Returns the number of entries about a failed AUTH in the ACL log of a server.
fn refused(server: &Redis) -> usize {
    let log = server.cli(&["ACL", "LOG"]);
    let lines: Vec<_> = log.lines().collect();
    lines.windows(2).filter(|pair| pair == &["reason", "auth"]).count()
}

/// Changes the token three times. Each time the server ends all connections, and those that follow
/// use the new token. No AUTH fails, and nobody reloads Rolecall.
fn check_renewals(daemon: &Daemon, server: &Redis, file: &TokenFile) {
    daemon.until(SECOND * 8, "redis_up", &[], 1.0);
    for tokens in [["first", "second"], ["second", "third"], ["third", "fourth"]] {
        let before = connections(server);
        assert!(!before.is_empty());
        renew(server, file, tokens);
        expire(server);
        eventually(SECOND * 15, "other connections with the new token", || {
            let after = connections(server);
            (!after.is_empty() && after.iter().all(|id| !before.contains(id))).then_some(())
        });
        daemon.until_rounds(3);
        assert_eq!(daemon.value("redis_up"), Some(1.0), "{tokens:?}");
    }
    assert_eq!(refused(server), 0);
    assert!(daemon.samples().sum("redis_poll_failures_total", &[("reason", "auth")]) < 0.5);
    daemon.until_no_findings(SECOND * 5);
}

#[test]
fn each_connection_uses_the_token_that_is_in_the_file() {
    let (server, file) = (Redis::start(&[]), TokenFile::new("first"));
    create_user(&server, "first");
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{url}' }}]\nusername = 'rolecall'\n\
         password_file = '{}'\nendpoints = {{ primary = '{url}' }}\n",
        file.path().display(),
        url = server.url()
    ));
    check_renewals(&daemon, &server, &file);
    // An endpoint gets a new connection for each check.
    daemon.until(SECOND * 25, "redis_endpoint_up", &[("endpoint", "primary")], 1.0);
    renew(&server, &file, ["fourth", "fifth"]);
    pause(SECOND * 12);
    let samples = daemon.samples();
    assert_eq!(samples.get("redis_endpoint_up", &[("endpoint", "primary")]), Some(1.0));
    assert_eq!(refused(&server), 0);
    server.cli(&["AUTH", "rolecall", "fourth"]);
    assert_eq!(refused(&server), 1, "the log shows the old token");
}

#[test]
fn a_token_is_read_again_with_tls() {
    let certificates = Certificates::create();
    let (server, port) = certificates.serve("server", "no");
    let file = TokenFile::new("first");
    create_user(&server, "first");
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = 'rediss://localhost:{port}' }}]\n\
         username = 'rolecall'\npassword_file = '{}'\ntls = {{ ca_file = '{}' }}\n",
        file.path().display(),
        certificates.path("ca.pem").display()
    ));
    check_renewals(&daemon, &server, &file);
}

#[test]
fn sentinels_and_their_nodes_use_new_tokens() {
    let server = Redis::start(&[]);
    let sentinel = server.sentinel();
    let (of_nodes, of_sentinels) = (TokenFile::new("first"), TokenFile::new("one"));
    create_user(&server, "first");
    create_user(&sentinel, "one");
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nmaster_name = 'mymaster'\nsentinels = ['{}']\n\
         sentinel_username = 'rolecall'\nsentinel_password_file = '{}'\n\
         username = 'rolecall'\npassword_file = '{}'\n",
        sentinel.url(),
        of_sentinels.path().display(),
        of_nodes.path().display()
    ));
    let node = [("node", format!("127.0.0.1:{}", server.port))];
    let node = node.each_ref().map(|(name, value)| (*name, value.as_str()));
    daemon.until(SECOND * 15, "redis_up", &node, 1.0);
    // The second connection is the subscription to events.
    eventually(SECOND * 10, "two connections", || {
        (connections(&sentinel).len() == 2).then_some(())
    });
    for (tokens, sentinel_tokens) in
        [(["first", "second"], ["one", "two"]), (["second", "third"], ["two", "three"])]
    {
        let before = [connections(&server), connections(&sentinel)].concat();
        renew(&server, &of_nodes, tokens);
        renew(&sentinel, &of_sentinels, sentinel_tokens);
        expire(&server);
        expire(&sentinel);
        eventually(SECOND * 20, "other connections with the new tokens", || {
            let (data, sentinels) = (connections(&server), connections(&sentinel));
            let is_complete = data.len() == 1 && sentinels.len() == 2;
            let all = [data, sentinels].concat();
            (is_complete && all.iter().all(|id| !before.contains(id))).then_some(())
        });
    }
    daemon.until_rounds(3);
    assert_eq!((refused(&server), refused(&sentinel)), (0, 0));
    sentinel.cli(&["AUTH", "rolecall", "two"]);
    assert_eq!(refused(&sentinel), 1, "the log shows the old token");
}

/// Returns the number of AUTH that a server got.
fn attempts(server: &Redis) -> u64 {
    let calls = server.cli(&["INFO", "commandstats"]);
    let line = calls.lines().find_map(|line| line.strip_prefix("cmdstat_auth:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

#[test]
fn an_empty_token_file_is_a_local_problem_without_auth() {
    let (server, file) = (Redis::start(&[]), TokenFile::new("first"));
    create_user(&server, "first");
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{}', name = 'n' }}]\n\
         username = 'rolecall'\npassword_file = '{}'\n",
        server.url(),
        file.path().display()
    ));
    daemon.until(SECOND * 8, "redis_up", &[], 1.0);
    for content in ["", "\n"] {
        let before = attempts(&server);
        file.overwrite(content);
        expire(&server);
        daemon.until(SECOND * 15, "redis_down_reason", &[("reason", "local")], 1.0);
        daemon.until_exact_findings(SECOND * 10, &["RolecallCannotRead"]);
        assert_eq!(daemon.samples().count("redis_up", &[]), 0, "it says nothing about the node");
        // Some more attempts.
        pause(SECOND * 5);
        assert_eq!((attempts(&server), refused(&server)), (before, 0), "{content:?}");
        let page = daemon.get("/deployment/a/node/n", "").text;
        assert!(page.contains("A limit or error on the host of Rolecall"), "{page}");
        file.overwrite("first");
        daemon.until(SECOND * 20, "redis_up", &[], 1.0);
        daemon.until_no_findings(SECOND * 5);
        assert_eq!((attempts(&server), refused(&server)), (before + 1, 0), "{content:?}");
    }
    let log = daemon.log().join("\n");
    assert!(log.contains("cannot read password file") && log.contains("it is empty"), "{log}");
}

#[test]
fn password_on_a_mount_that_hangs_is_a_local_problem() {
    let server = Redis::start(&["--requirepass", "hunter2-password"]);
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("password-0"), "hunter2-password\n").expect("a file");
    symlink("password-0", path("password")).expect("a symlink");
    let lead = |target: &Path| {
        symlink(target, path("new")).expect("a symlink");
        std::fs::rename(path("new"), path("password")).expect("a symlink");
    };
    let daemon = Daemon::configured(&format!(
        "[[deployment]]\nname = 'a'\nnodes = [{{ url = 'redis://127.0.0.1:{}' }}]\n\
         password_file = '{}'\n",
        server.port,
        path("password").display()
    ));
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    let mount = HangingMount::start();
    lead(&mount.path("password"));
    server.cli(&["-a", "hunter2-password", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let local = daemon.until(SECOND * 8, "redis_down_reason", &[("reason", "local")], 1.0);
    assert_eq!(daemon.samples().get("redis_up", &[]), None, "the server may be up");
    let log = daemon.log().concat();
    assert!(!log.contains("reason=timeout"), "{log}");
    lead(Path::new("password-0"));
    drop(mount);
    let up = daemon.until(SECOND * 15, "redis_up", &[], 1.0);
    println!("reason local after {local:?}, up again {up:?} after the file can be read");
}
