//! Parses every captured transcript of real servers.

use std::path::Path;
use std::time::Duration;

use snapshot::{
    Client, ClientKind, ClusterMap, ClusterNode, Config, Fields, Quorum, Reply, Role,
    SentinelEntry, SentinelList, ServerError, Shard, SlowLog,
};

/// Calls `check` with file, command and reply for every command in every transcript.
fn each_reply(mut check: impl FnMut(&str, &str, &Reply)) {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    for server in std::fs::read_dir(captures)
        .expect("captures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
    {
        for file in std::fs::read_dir(&server)
            .expect("a server's captures")
            .map(|entry| entry.expect("entry").path())
        {
            let bytes = std::fs::read(&file).expect("a transcript");
            if bytes.starts_with(b">>> ") {
                let file = file
                    .strip_prefix(env!("CARGO_MANIFEST_DIR"))
                    .expect("a path in the crate")
                    .display()
                    .to_string();
                for (command, reply) in transcript(&bytes) {
                    check(&file, &command, &reply);
                }
            }
        }
    }
}

/// Splits a transcript into commands and replies.
///
/// The format is `>>> COMMAND`, a line feed, and the raw reply.
fn transcript(mut bytes: &[u8]) -> Vec<(String, Reply<'static>)> {
    let mut replies = Vec::new();
    while let Some(rest) = bytes.strip_prefix(b">>> ") {
        // A command may contain line feeds. A reply begins with its type.
        let end = (0..rest.len()).find(|index| {
            rest[*index] == b'\n' && rest.get(index + 1).is_none_or(|next| TYPES.contains(next))
        });
        let (command, mut reply) = rest.split_at(end.expect("the end of a command"));
        reply = &reply[1..];
        let mut last = Reply::Nil;
        // Some commands have several replies. The last one counts.
        while !reply.is_empty() && !reply.starts_with(b">>> ") {
            if reply[0] == b'\n' {
                reply = &reply[1..];
                continue;
            }
            (last, reply) = resp(reply);
        }
        replies.push((String::from_utf8_lossy(command).into_owned(), last));
        bytes = reply;
    }
    replies
}

/// First bytes of replies. Some transcripts switch to RESP3.
const TYPES: &[u8] = b"+-:$*%=_,";

/// Parses one reply. Returns it with the rest of the input.
fn resp(bytes: &[u8]) -> (Reply<'static>, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("the end of a line");
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let mut rest = &bytes[end + 2..];
    let reply = match bytes[0] {
        b'+' | b',' => Reply::Text(line.into()),
        b'-' => Reply::Error(ServerError::new(line)),
        b':' => Reply::Integer(line.parse().expect("an integer")),
        b'_' => Reply::Nil,
        b'$' | b'=' => match line.parse::<usize>() {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let text = String::from_utf8_lossy(&rest[..length]).into_owned();
                rest = &rest[length + 2..];
                Reply::Text(text.into())
            }
        },
        aggregate @ (b'*' | b'%') => {
            let mut items = Vec::new();
            for _ in
                0..line.parse::<i64>().expect("a length") * if aggregate == b'%' { 2 } else { 1 }
            {
                let (item, after) = resp(rest);
                items.push(item);
                rest = after;
            }
            Reply::Array(items)
        }
        other => panic!("unknown reply type {other}"),
    };
    (reply, rest)
}

#[test]
fn parses_every_config_reply() {
    let mut read = 0;
    each_reply(|file, command, reply| {
        let Some(parameter) = command.strip_prefix("CONFIG GET ") else { return };
        if reply.error().is_some() || parameter.contains([' ', '*']) {
            return;
        }
        let mut config = Config::default();
        config.add(reply);
        // The reply is empty if the server does not know the parameter.
        assert_eq!(config.get(parameter).is_some(), !reply.items().is_empty(), "{file}: {command}");
        if parameter == "client-output-buffer-limit" && !reply.items().is_empty() {
            let classes: Vec<_> =
                config.output_buffer_limits().iter().map(|limit| limit.class).collect();
            assert_eq!(classes, ["normal", "slave", "pubsub"], "{file}: {reply:?}");
        }
        read += 1;
    });
    assert!(read > 600, "{read}");
}

#[test]
fn parses_every_client_list() {
    let (mut lists, mut replicas) = (0, 0);
    each_reply(|file, command, reply| {
        if !command.starts_with("CLIENT LIST") && command != "CLIENT INFO" {
            return;
        }
        let Some(text) = reply.text() else { return };
        let clients = Client::parse_list(text);
        assert_eq!(
            clients.len(),
            text.lines().filter(|line| !line.is_empty()).count(),
            "{file}: {text}"
        );
        for client in &clients {
            let name = if client.is_sentinel() { client.name.clone() } else { "".into() };
            let anonymous = Client { name, user: None, ..client.clone() };
            assert_eq!(Client::parse_list(&client.anonymous_line()), [anonymous], "{file}");
        }
        replicas += clients.iter().filter(|client| client.kind == ClientKind::Replica).count();
        lists += 1;
    });
    assert!(lists > 100 && replicas > 20, "{lists} lists, {replicas} replicas");
}

#[test]
fn parses_every_sentinel_reply() {
    let (mut masters, mut replicas, mut sentinels, mut quorums) = (0, 0, 0, Vec::new());
    each_reply(|file, command, reply| {
        let words: Vec<_> = command.split(' ').take(2).collect();
        if reply.error().is_some() && words != ["SENTINEL", "CKQUORUM"] {
            return;
        }
        match *words {
            ["SENTINEL", "MASTER"] => assert!(
                SentinelEntry::parse(reply).is_some_and(|master| master.settings.is_some()),
                "{file}"
            ),
            ["SENTINEL", subcommand @ ("MASTERS" | "REPLICAS" | "SENTINELS")] => {
                let SentinelList { entries, left_out } = SentinelList::parse(reply);
                assert!(left_out.is_empty(), "{file}");
                assert_eq!(entries.len(), reply.items().len(), "{file}: {command}");
                for entry in &entries {
                    let pairs = entry.pairs();
                    let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
                    assert_eq!(SentinelEntry::from_pairs(pairs).as_ref(), Some(entry), "{file}");
                    match subcommand {
                        "MASTERS" => {
                            let settings = entry
                                .settings
                                .as_ref()
                                .unwrap_or_else(|| panic!("{file}: {entry:?}"));
                            assert!(
                                settings.quorum > 0 && settings.down_after > Duration::ZERO,
                                "{file}: {entry:?}"
                            );
                        }
                        "REPLICAS" => {
                            assert!(
                                entry.settings.is_none()
                                    && (entry.follows.is_some()
                                        || entry.run_id.is_empty()
                                        || entry.down()
                                        || entry.role_reported == Some(Role::Master)),
                                "{file}: {entry:?}"
                            );
                        }
                        _ => assert!(
                            entry.settings.is_none() && entry.last_ok_ping.is_some(),
                            "{file}: {entry:?}"
                        ),
                    }
                }
                match subcommand {
                    "MASTERS" => masters += entries.len(),
                    "REPLICAS" => replicas += entries.len(),
                    _ => sentinels += entries.len(),
                }
            }
            ["SENTINEL", "CKQUORUM"] => {
                quorums.push(Quorum::parse(reply).unwrap_or_else(|| panic!("{file}: {reply:?}")));
            }
            _ => {}
        }
    });
    assert!(masters > 40 && replicas > 40 && sentinels > 40, "{masters} {replicas} {sentinels}");
    assert!(quorums.iter().all(|quorum| quorum.usable.is_some()));
    for quorum in &quorums {
        let text = quorum.text();
        let error = Reply::Error(ServerError::new(text.as_str()));
        let reply = if quorum.ok { Reply::Text(text.into()) } else { error };
        assert_eq!(Quorum::parse(&reply), Some(*quorum));
    }
    for ok in [true, false] {
        assert!(quorums.iter().any(|quorum| quorum.ok == ok));
    }
}

#[test]
fn parses_every_cluster_reply() {
    let (mut infos, mut nodes, mut shards) = (0, 0, 0);
    each_reply(|file, command, reply| {
        if reply.error().is_some() {
            return;
        }
        match command {
            "CLUSTER INFO" => {
                let info = Fields::parse(reply.text().expect("text"));
                assert!(matches!(info.get("cluster_state"), Some("ok" | "fail")), "{file}");
                assert!(info.count("cluster_known_nodes").is_some(), "{file}");
                infos += 1;
            }
            "CLUSTER NODES" => {
                let text = reply.text().expect("text");
                let parsed = ClusterMap::parse(text).nodes;
                assert_eq!(parsed.len(), text.lines().count(), "{file}: {text}");
                assert_eq!(parsed.iter().filter(|node| node.is("myself")).count(), 1, "{file}");
                let lines: Vec<_> = parsed.iter().map(ClusterNode::line).collect();
                assert_eq!(ClusterMap::parse(&lines.join("\n")).nodes, parsed, "{file}");
                let served: u32 = parsed
                    .iter()
                    .flat_map(|node| &node.slots)
                    .map(|(first, last)| u32::from(last - first) + 1)
                    .sum();
                assert!(served == 16384 || parsed.len() < 6, "{file}: {served} slots");
                nodes += parsed.len();
            }
            "CLUSTER SHARDS" => {
                let parsed = Shard::parse_list(reply);
                assert_eq!(parsed.len(), reply.items().len(), "{file}");
                assert!(parsed.iter().all(|shard| !shard.nodes.is_empty()), "{file}: {reply:?}");
                shards += parsed.len();
            }
            _ => {}
        }
    });
    assert!(infos > 50 && nodes > 300 && shards > 100, "{infos} {nodes} {shards}");
}

#[test]
fn parses_length_and_newest_entry_of_the_slow_log() {
    let entry = Reply::Array(vec![
        Reply::Integer(14),
        Reply::Integer(1_795_225_919),
        Reply::Integer(12_500),
        Reply::Array(vec![]),
    ]);
    let log = SlowLog::parse(&Reply::Integer(3), &Reply::Array(vec![entry]));
    assert_eq!((log.length, log.last), (Some(3), Some((14, Duration::from_micros(12_500)))));
    assert_eq!(
        SlowLog::parse(&Reply::Integer(0), &Reply::Array(vec![])),
        SlowLog { length: Some(0), last: None }
    );
    let mut lengths = 0;
    each_reply(|file, command, reply| {
        if command == "SLOWLOG LEN" && reply.error().is_none() {
            assert!(SlowLog::parse(reply, &Reply::Nil).length.is_some(), "{file}: {reply:?}");
            lengths += 1;
        }
    });
    assert!(lengths > 20, "{lengths}");
}

#[test]
fn a_refused_sentinel_gets_replies_that_are_not_valid() {
    let mut read = 0;
    each_reply(|file, command, reply| {
        if !file.contains("45-auth-pass-missing") || command != "SENTINEL MASTERS" {
            return;
        }
        let master = &SentinelList::parse(reply).entries[0];
        assert!(master.down() && master.disconnected && master.run_id.is_empty(), "{file}");
        let (Some(any), Some(valid)) = (master.last_ping_reply, master.last_ok_ping) else {
            panic!("{file}: {master:?}");
        };
        assert!(any < Duration::from_secs(2) && valid > Duration::from_secs(5), "{file}");
        read += 1;
    });
    assert_eq!(read, 2);
}
