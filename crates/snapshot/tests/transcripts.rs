//! The parsers of structured replies, on every transcript of real servers.

use std::path::Path;
use std::time::Duration;

use snapshot::{
    Client, ClientKind, ClusterNode, Config, Fields, Quorum, Reply, Role, ServerError, Shard,
    SlowLog, WatchedMaster,
};

/// Every command and its reply in every transcript.
fn each(mut check: impl FnMut(&str, &str, &Reply)) {
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
                let place = file
                    .strip_prefix(env!("CARGO_MANIFEST_DIR"))
                    .expect("a place")
                    .display()
                    .to_string();
                for (command, reply) in transcript(&bytes) {
                    check(&place, &command, &reply);
                }
            }
        }
    }
}

/// Splits a transcript: `>>> COMMAND`, a line feed, and the reply as it came.
fn transcript(mut bytes: &[u8]) -> Vec<(String, Reply)> {
    let mut found = Vec::new();
    while let Some(rest) = bytes.strip_prefix(b">>> ") {
        // A command may hold line feeds; a reply begins with its type.
        let end = (0..rest.len()).find(|place| {
            rest[*place] == b'\n' && rest.get(place + 1).is_none_or(|next| TYPES.contains(next))
        });
        let (command, mut reply) = rest.split_at(end.expect("the end of a command"));
        reply = &reply[1..];
        let mut last = Reply::Nil;
        // Some commands are answered by several replies in turn.
        while !reply.is_empty() && !reply.starts_with(b">>> ") {
            if reply[0] == b'\n' {
                reply = &reply[1..];
                continue;
            }
            (last, reply) = resp(reply);
        }
        found.push((String::from_utf8_lossy(command).into_owned(), last));
        bytes = reply;
    }
    found
}

/// The first bytes of replies; some transcripts switch to RESP3.
const TYPES: &[u8] = b"+-:$*%=_,";

/// Reads one reply.
fn resp(bytes: &[u8]) -> (Reply, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("the end of a line");
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let mut rest = &bytes[end + 2..];
    let reply = match bytes[0] {
        b'+' | b',' => Reply::Text(line),
        b'-' => Reply::Error(ServerError::new(line)),
        b':' => Reply::Integer(line.parse().expect("an integer")),
        b'_' => Reply::Nil,
        b'$' | b'=' => match line.parse::<usize>() {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let text = String::from_utf8_lossy(&rest[..length]).into_owned();
                rest = &rest[length + 2..];
                Reply::Text(text)
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
        other => panic!("a reply of type {other}"),
    };
    (reply, rest)
}

#[test]
fn every_config_reply_is_read() {
    let mut read = 0;
    each(|place, command, reply| {
        let Some(parameter) = command.strip_prefix("CONFIG GET ") else { return };
        if reply.error().is_some() || parameter.contains([' ', '*']) {
            return;
        }
        let mut config = Config::default();
        config.add(reply);
        // A server that does not know the parameter answers with nothing.
        assert_eq!(
            config.get(parameter).is_some(),
            !reply.items().is_empty(),
            "{place}: {command}"
        );
        if parameter == "client-output-buffer-limit" && !reply.items().is_empty() {
            let classes: Vec<_> =
                config.output_buffer_limits().iter().map(|limit| limit.class).collect();
            assert_eq!(classes, ["normal", "slave", "pubsub"], "{place}: {reply:?}");
        }
        read += 1;
    });
    assert!(read > 600, "{read}");
}

#[test]
fn every_client_list_is_read() {
    let (mut lists, mut replicas) = (0, 0);
    each(|place, command, reply| {
        if !command.starts_with("CLIENT LIST") && command != "CLIENT INFO" {
            return;
        }
        let Some(text) = reply.text() else { return };
        let clients = Client::parse_list(text);
        assert_eq!(
            clients.len(),
            text.lines().filter(|line| !line.is_empty()).count(),
            "{place}: {text}"
        );
        replicas += clients.iter().filter(|client| client.kind == ClientKind::Replica).count();
        lists += 1;
    });
    assert!(lists > 100 && replicas > 20, "{lists} lists, {replicas} replicas");
}

#[test]
fn every_sentinel_reply_is_read() {
    let (mut masters, mut replicas, mut sentinels, mut quorums) = (0, 0, 0, Vec::new());
    each(|place, command, reply| {
        let words: Vec<_> = command.split(' ').take(2).collect();
        if reply.error().is_some() && words != ["SENTINEL", "CKQUORUM"] {
            return;
        }
        match *words {
            ["SENTINEL", "MASTER"] => assert!(
                WatchedMaster::parse(reply).is_some_and(|master| master.settings.is_some()),
                "{place}"
            ),
            ["SENTINEL", what @ ("MASTERS" | "REPLICAS" | "SENTINELS")] => {
                let watched = WatchedMaster::parse_list(reply);
                assert_eq!(watched.len(), reply.items().len(), "{place}: {command}");
                for one in &watched {
                    match what {
                        "MASTERS" => {
                            let settings =
                                one.settings.as_ref().unwrap_or_else(|| panic!("{place}: {one:?}"));
                            assert!(
                                settings.quorum > 0 && settings.down_after > Duration::ZERO,
                                "{place}: {one:?}"
                            );
                        }
                        "REPLICAS" => {
                            assert!(
                                one.settings.is_none()
                                    && (one.follows.is_some()
                                        || one.run_id.is_empty()
                                        || one.down()
                                        || one.role_reported == Some(Role::Master)),
                                "{place}: {one:?}"
                            );
                        }
                        _ => assert!(
                            one.settings.is_none() && one.answered_before.is_some(),
                            "{place}: {one:?}"
                        ),
                    }
                }
                match what {
                    "MASTERS" => masters += watched.len(),
                    "REPLICAS" => replicas += watched.len(),
                    _ => sentinels += watched.len(),
                }
            }
            ["SENTINEL", "CKQUORUM"] => {
                quorums.push(Quorum::parse(reply).unwrap_or_else(|| panic!("{place}: {reply:?}")));
            }
            _ => {}
        }
    });
    assert!(masters > 40 && replicas > 40 && sentinels > 40, "{masters} {replicas} {sentinels}");
    assert!(quorums.iter().all(|quorum| quorum.usable.is_some()));
    for ok in [true, false] {
        assert!(quorums.iter().any(|quorum| quorum.ok == ok));
    }
}

#[test]
fn every_cluster_reply_is_read() {
    let (mut infos, mut nodes, mut shards) = (0, 0, 0);
    each(|place, command, reply| {
        if reply.error().is_some() {
            return;
        }
        match command {
            "CLUSTER INFO" => {
                let info = Fields::parse(reply.text().expect("text"));
                assert!(matches!(info.get("cluster_state"), Some("ok" | "fail")), "{place}");
                assert!(info.count("cluster_known_nodes").is_some(), "{place}");
                infos += 1;
            }
            "CLUSTER NODES" => {
                let text = reply.text().expect("text");
                let found = ClusterNode::parse_list(text);
                assert_eq!(found.len(), text.lines().count(), "{place}: {text}");
                assert_eq!(found.iter().filter(|node| node.is("myself")).count(), 1, "{place}");
                let served: u32 = found
                    .iter()
                    .flat_map(|node| &node.slots)
                    .map(|(first, last)| u32::from(last - first) + 1)
                    .sum();
                assert!(served == 16384 || found.len() < 6, "{place}: {served} slots");
                nodes += found.len();
            }
            "CLUSTER SHARDS" => {
                let found = Shard::parse_list(reply);
                assert_eq!(found.len(), reply.items().len(), "{place}");
                assert!(found.iter().all(|shard| !shard.nodes.is_empty()), "{place}: {reply:?}");
                shards += found.len();
            }
            _ => {}
        }
    });
    assert!(infos > 50 && nodes > 300 && shards > 100, "{infos} {nodes} {shards}");
}

#[test]
fn a_slow_log_shows_its_last_entry() {
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
    each(|place, command, reply| {
        if command == "SLOWLOG LEN" && reply.error().is_none() {
            assert!(SlowLog::parse(reply, &Reply::Nil).length.is_some(), "{place}: {reply:?}");
            lengths += 1;
        }
    });
    assert!(lengths > 20, "{lengths}");
}
