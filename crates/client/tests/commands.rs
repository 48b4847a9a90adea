//! Files that are generated from the table of sent commands.
//!
//! `UPDATE_EXPECT=1 cargo test -p client --test commands` writes them.

use std::fmt::Write;

use expect_test::expect_file;
use snapshot::{CONFIG_PARAMETERS, Receiver, SENT_COMMANDS, SentCommand};

const INTRODUCTION: &str = "\
# Commands and permissions

Every command that Rolecall sends, generated from `crates/snapshot/src/sent_commands.rs`. Rolecall
never writes and never sends PING. A command that the server refuses is not sent again until another
process, another address, another user or another password is used, or for a day. Rolecall omits the
metrics that depend on it, and the log has one line about it. NOPERM and `unknown command` are a
refusal at once, any other error when it is returned twice in a row, except LOADING, BUSY,
MASTERDOWN, CLUSTERDOWN, TRYAGAIN, OOM, MISCONF and NOREPLICAS, which describe a state. While
several servers take turns at an address (RolecallNodeAmbiguous), only INFO is sent. Errors that
Rolecall's own commands cause are subtracted from `redis_errors_total` and
`redis_error_replies_total`, and cause no additional reading. `rolecall_commands_total{command}`
counts the commands sent. The keys `skip_commands` and `preset` leave commands out. The column
`since` has the first supported version of Redis with the command.

";

/// Returns the commands that servers of these kinds receive.
fn received(by: &[Receiver]) -> impl Iterator<Item = &'static SentCommand> {
    SENT_COMMANDS.into_iter().filter(move |sent| by.contains(&sent.receiver))
}

/// Returns the ACL rules that a kind of server needs, each once, in the order of the table.
fn rules(by: &[Receiver]) -> Vec<&'static str> {
    let mut rules = Vec::new();
    for sent in received(by).filter(|sent| !sent.acl.is_empty()) {
        if !rules.contains(&sent.acl) {
            rules.push(sent.acl);
        }
    }
    rules
}

fn acl_line(channels: &str, rules: &[&str]) -> String {
    format!("user rolecall on >CHANGE-ME resetkeys {channels} -@all {}\n", rules.join(" "))
}

fn data_node_rules() -> Vec<&'static str> {
    rules(&[Receiver::Any, Receiver::DataNode, Receiver::ClusterNode])
}

fn sentinel_rules() -> Vec<&'static str> {
    rules(&[Receiver::Any, Receiver::Sentinel])
}

fn table(title: &str, receiver: Receiver) -> String {
    let mut text = format!("## {title}\n\n");
    text += "| command | ACL rule | interval (default) | since | purpose |\n";
    text += "| --- | --- | --- | --- | --- |\n";
    for sent in received(&[receiver]) {
        let acl = if sent.acl.is_empty() { String::new() } else { format!("`{}`", sent.acl) };
        let usage = format!("`{}`", sent.usage());
        let cells = [&usage, &acl, sent.cadence, sent.since, sent.purpose];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a string");
    }
    text + "\n"
}

#[test]
fn documentation_lists_every_command() {
    let mut text = INTRODUCTION.to_owned();
    text += &table("Every node", Receiver::Any);
    text += &table("Data nodes", Receiver::DataNode);
    text += &table("Nodes of a cluster, in addition", Receiver::ClusterNode);
    text += &table("Sentinels", Receiver::Sentinel);
    text += "\
An endpoint (`endpoints`) gets a new connection every 10 seconds, or every minute while it refuses
the credentials. The connection is closed after one `INFO`.

## ACL users

For data nodes (`deploy/acl/redis.acl`):

```text
";
    text += &acl_line("resetchannels", &data_node_rules());
    text += "```\n\nFor Sentinels (`deploy/acl/sentinel.acl`):\n\n```text\n";
    text += &acl_line("allchannels", &sentinel_rules());
    text += "```\n\n## Parameters read by CONFIG GET\n\n";
    for parameter in CONFIG_PARAMETERS {
        writeln!(text, "- `{parameter}`").expect("writing to a string");
    }
    expect_file!["../COMMANDS.md"].assert_eq(&text);
}

#[test]
fn acl_files_permit_exactly_what_is_sent() {
    let redis = acl_line("resetchannels", &data_node_rules());
    expect_file!["../../../deploy/acl/redis.acl"].assert_eq(&redis);
    let sentinel = acl_line("allchannels", &sentinel_rules());
    expect_file!["../../../deploy/acl/sentinel.acl"].assert_eq(&sentinel);
}

#[test]
fn runbook_names_every_acl_rule() {
    let runbook = include_str!("../../../alerts/runbooks/RolecallCannotRead.md");
    for rule in data_node_rules().into_iter().chain(sentinel_rules()) {
        assert!(runbook.contains(rule), "alerts/runbooks/RolecallCannotRead.md lacks {rule}");
    }
}

#[test]
fn each_row_is_complete() {
    for sent in SENT_COMMANDS {
        assert!(sent.name.chars().all(|letter| letter.is_ascii_uppercase()), "{sent:?}");
        assert!(!sent.purpose.is_empty() && !sent.purpose.ends_with('.'), "{sent:?}");
        assert!(!sent.cadence.is_empty() && !sent.since.is_empty(), "{sent:?}");
        let command = sent.stat_name();
        assert!(sent.acl.is_empty() || sent.acl == format!("+{command}"), "{sent:?}: {command}");
    }
}
