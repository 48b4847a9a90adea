//! Options of redis-cli with which a command of a runbook reaches a server of a deployment.

use std::path::Path;

use snapshot::SENT_COMMANDS;
use topology::NodeAccess;

use crate::placeholders::shell_word;

/// The program that the commands of runbooks start.
const PROGRAM: &str = "redis-cli ";

/// Variable of the shell that has the password.
pub(crate) const PASSWORD: &str = "$REDIS_PASSWORD";

/// Placeholder of an ACL user with more rights than the one of Rolecall.
pub(crate) const ADMIN_USER: &str = "$ADMIN_USER";

/// Adds what the access to a server needs to each call of redis-cli in a text. `access` returns the
/// access for the arguments of a call; `None` leaves the call as it is.
pub(crate) fn add_access<'a>(
    text: &str,
    access: impl Fn(&str) -> Option<&'a NodeAccess>,
) -> String {
    let mut added = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(PROGRAM) {
        let (before, call) = rest.split_at(start);
        let arguments = &call[PROGRAM.len()..];
        let arguments_here = arguments.split(['\n', '|']).next().unwrap_or_default();
        added += before;
        match access(arguments_here).filter(|_| is_call(arguments_here)) {
            Some(access) => {
                added += &program(access, arguments_here, follows_program(before));
            }
            None => added += PROGRAM,
        }
        rest = arguments;
    }
    added + rest
}

/// Returns true if these are arguments of a call: an option comes first.
fn is_call(arguments: &str) -> bool {
    arguments.starts_with('-')
}

/// Returns true if the text ends within a command: another program starts redis-cli.
fn follows_program(before: &str) -> bool {
    let command = before.rsplit(['\n', '|', ';', '&', '(']).next().unwrap_or_default();
    !command.trim().is_empty()
}

/// Returns the program with the options for this access, followed by a space. A program that starts
/// it, such as `timeout`, takes no assignments of variables.
fn program(access: &NodeAccess, arguments: &str, follows_program: bool) -> String {
    let mut words: Vec<String> = Vec::new();
    if access.has_password {
        words.extend(follows_program.then(|| "env".to_owned()));
        words.push(format!("REDISCLI_AUTH=\"{PASSWORD}\""));
    }
    words.push(PROGRAM.trim_end().to_owned());
    if let Some(tls) = &access.tls {
        words.push("--tls".to_owned());
        let files =
            [("--cacert", &tls.ca_file), ("--cert", &tls.cert_file), ("--key", &tls.key_file)];
        for (option, path) in files {
            words.extend(path.as_ref().map(|path| format!("{option} {}", shell_path(path))));
        }
        words.extend(tls.server_name.as_ref().map(|name| format!("--sni {}", shell_word(name))));
        words.extend(tls.is_insecure.then(|| "--insecure".to_owned()));
    }
    let user = access.user.as_deref().filter(|user| access.has_password && *user != "default");
    if let Some(user) = user {
        let user = if is_sent(arguments) { shell_word(user) } else { ADMIN_USER.into() };
        words.push(format!("--user {user}"));
    }
    words.join(" ") + " "
}

fn shell_path(path: &Path) -> String {
    shell_word(&path.to_string_lossy()).into_owned()
}

/// Returns true if Rolecall sends the command itself, so that its user may run it.
fn is_sent(arguments: &str) -> bool {
    let words = command_words(arguments);
    SENT_COMMANDS.iter().any(|sent| {
        let name = sent.stat_name();
        let mut parts = name.split('|').zip(words.iter());
        words.len() >= name.split('|').count() && parts.all(|(part, word)| part == word)
    })
}

/// Returns the words of the command after the options, in lower case.
fn command_words(arguments: &str) -> Vec<String> {
    let mut words = arguments.split_whitespace().peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if matches!(option, "-h" | "-p" | "-s" | "-n" | "-i" | "-r") {
            words.next();
        }
    }
    words.map(|word| word.trim_matches(['\'', '"']).to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use topology::TlsAccess;

    use super::*;

    fn with(access: &NodeAccess, text: &str) -> String {
        add_access(text, |_| Some(access))
    }

    fn user(name: &str) -> NodeAccess {
        NodeAccess { user: Some(name.to_owned()), has_password: true, tls: None }
    }

    #[test]
    fn a_server_without_access_control_needs_no_option() {
        let command = "redis-cli -h a -p 1 info\nredis-cli -h a -p 1 role";
        assert_eq!(with(&NodeAccess::default(), command), command);
    }

    #[test]
    fn the_password_is_taken_from_the_environment() {
        let access = NodeAccess { has_password: true, ..NodeAccess::default() };
        assert_eq!(
            with(&access, "printf 'MULTI\\n' | redis-cli -h a -p 1\nredis-cli -h a -p 1 info"),
            "printf 'MULTI\\n' | REDISCLI_AUTH=\"$REDIS_PASSWORD\" redis-cli -h a -p 1\n\
             REDISCLI_AUTH=\"$REDIS_PASSWORD\" redis-cli -h a -p 1 info"
        );
    }

    #[test]
    fn another_program_starts_redis_cli_through_env() {
        let access = NodeAccess { has_password: true, ..NodeAccess::default() };
        assert_eq!(
            with(&access, "timeout 5 redis-cli -h a -p 1 info"),
            "timeout 5 env REDISCLI_AUTH=\"$REDIS_PASSWORD\" redis-cli -h a -p 1 info"
        );
    }

    #[test]
    fn the_user_of_rolecall_runs_what_rolecall_sends() {
        let access = user("rolecall");
        let password = "REDISCLI_AUTH=\"$REDIS_PASSWORD\"";
        for (command, expected) in [
            ("-h a -p 1 info replication", "rolecall"),
            ("-h a -p 1 INFO", "rolecall"),
            ("-h a -p 1 config get maxmemory", "rolecall"),
            ("-h a -p 1 client list", "rolecall"),
            ("-h a -p 1 cluster nodes", "rolecall"),
            ("-h a -p 1 sentinel ckquorum m", "rolecall"),
            ("-h a -p 1 config set maxmemory 1gb", "$ADMIN_USER"),
            ("-h a -p 1 client kill id 5", "$ADMIN_USER"),
            ("-h a -p 1 role", "$ADMIN_USER"),
            ("-h a -p 1 acl log 10", "$ADMIN_USER"),
            ("-h a -p 1 -x config set masterauth", "$ADMIN_USER"),
            ("--cluster check a:1", "$ADMIN_USER"),
        ] {
            assert_eq!(
                with(&access, &format!("redis-cli {command}")),
                format!("{password} redis-cli --user {expected} {command}")
            );
        }
        let command = "redis-cli -h a -p 1 role";
        assert_eq!(with(&user("default"), command), format!("{password} {command}"));
    }

    #[test]
    fn tls_needs_the_files_of_the_profile() {
        let tls = TlsAccess {
            ca_file: Some("/etc/my ca.pem".into()),
            cert_file: Some("/etc/client.pem".into()),
            key_file: Some("/etc/client.key".into()),
            server_name: Some("redis.example".to_owned()),
            is_insecure: false,
        };
        let access = NodeAccess { tls: Some(tls), ..NodeAccess::default() };
        assert_eq!(
            with(&access, "redis-cli -h a -p 1 info"),
            "redis-cli --tls --cacert '/etc/my ca.pem' --cert /etc/client.pem \
             --key /etc/client.key --sni redis.example -h a -p 1 info"
        );
        let tls = TlsAccess { is_insecure: true, ..TlsAccess::default() };
        let access = NodeAccess { tls: Some(tls), ..NodeAccess::default() };
        assert_eq!(
            with(&access, "redis-cli -h a -p 1 info"),
            "redis-cli --tls --insecure -h a -p 1 info"
        );
    }

    #[test]
    fn text_about_the_program_stays_as_it_is() {
        let text = "redis-cli asks for confirmation.";
        assert_eq!(with(&user("rolecall"), text), text);
    }
}
