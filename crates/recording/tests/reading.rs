//! Reading of recordings: damaged files, other versions, and what a recording leaves out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recording::{Encoder, Expectation, Header, Judgement, Recording, Verdict};
use snapshot::{Client, Config, NodeSnapshot, Reply};
use topology::{Deployment, DeploymentKind, Monotonic, NodeIndex, NodeReply, PollOutcome, Round};

const SECOND: Duration = Duration::from_secs(1);

fn deployment() -> Arc<Deployment> {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    deployment.add("a", "10.0.0.1:6379", None);
    Arc::new(deployment)
}

fn header() -> Header {
    Header { rolecall: "1.2.3".to_owned(), deployment: deployment(), restored: None }
}

fn reply(info: &str) -> NodeReply {
    let snapshot = NodeSnapshot::from_info(info).expect("a reply to INFO");
    NodeReply::new(snapshot, Duration::ZERO, SystemTime::UNIX_EPOCH)
}

fn round(number: u32, reply: NodeReply) -> Round {
    let now = Monotonic::START + SECOND * number;
    let at = SystemTime::UNIX_EPOCH + now.since_start();
    Round::new(at, now, vec![PollOutcome::Answered(reply)])
}

/// Returns the lines of a recording with rounds of these replies.
fn lines(replies: Vec<NodeReply>) -> Vec<String> {
    let (mut encoder, deployment) = (Encoder::default(), deployment());
    let mut lines = vec![encoder.header(&header())];
    for (reply, number) in replies.into_iter().zip(1..) {
        lines.push(encoder.round(&round(number, reply), &deployment));
    }
    lines
}

fn three_rounds() -> Vec<String> {
    lines((1..4).map(|offset| reply(&master(offset))).collect())
}

fn master(offset: u64) -> String {
    format!("run_id:x\nrole:master\nmaster_repl_offset:{offset}\nredis_version:7.0.15\n")
}

#[track_caller]
fn read(text: &str) -> Recording {
    Recording::read(text.as_bytes()).expect("a recording")
}

#[track_caller]
fn error(text: &str) -> String {
    Recording::read(text.as_bytes()).expect_err("an error").to_string()
}

#[test]
fn a_line_has_only_what_changed() {
    let lines = three_rounds();
    assert!(lines[1].contains("redis_version") && lines[1].contains("\"members\""));
    assert!(!lines[2].contains("redis_version") && !lines[2].contains("\"members\""));
    assert!(lines[2].contains("\"state\":{\"info\":{\"master_repl_offset\":\"2\"}}"));
    let recording = read(&lines.concat());
    let PollOutcome::Answered(last) = &recording.rounds[2].round.outcomes[NodeIndex::new(0)] else {
        panic!("no answer");
    };
    assert_eq!(last.snapshot.fields.get("redis_version"), Some("7.0.15"));
    assert_eq!(last.snapshot.replication.offset, Some(3));
}

#[test]
fn a_line_that_disappears_is_removed() {
    let recording = read(&lines(vec![reply(&master(1)), reply("role:master\n")]).concat());
    let PollOutcome::Answered(last) = &recording.rounds[1].round.outcomes[NodeIndex::new(0)] else {
        panic!("no answer");
    };
    assert_eq!(last.snapshot.fields.iter().count(), 1);
}

#[test]
fn unchanged_shared_parts_are_written_once() {
    let mut config = Config::default();
    let words = ["maxmemory", "1048576"].map(|word| Reply::Text(word.into()));
    config.add(&Reply::Array(words.into()));
    let config = Arc::new(config);
    let replies = (1..4).map(|offset| {
        let reply = reply(&master(offset));
        let snapshot = NodeSnapshot::clone(&reply.snapshot);
        let snapshot = NodeSnapshot { config: Some(Arc::clone(&config)), ..snapshot };
        NodeReply { snapshot: Arc::new(snapshot), ..reply }
    });
    let text = lines(replies.collect()).concat();
    assert_eq!(text.matches("1048576").count(), 1);
    let recording = read(&text);
    let configs =
        recording.rounds.iter().map(|recorded| match &recorded.round.outcomes[NodeIndex::new(0)] {
            PollOutcome::Answered(reply) => reply.snapshot.config.clone().expect("a CONFIG"),
            other => panic!("{other:?}"),
        });
    let configs: Vec<_> = configs.collect();
    assert!(configs.iter().all(|config| Arc::ptr_eq(config, &configs[0])));
    assert_eq!(configs[0], config);
}

#[test]
fn a_cut_off_last_line_is_skipped_with_a_notice() {
    let text = three_rounds().concat();
    for cut in [1, 2, 40] {
        let recording = read(&text[..text.len() - cut]);
        // Without its line feed, a line may still be complete.
        let rounds = if cut == 1 { 3 } else { 2 };
        assert_eq!(recording.rounds.len(), rounds);
        assert_eq!(recording.notice.is_some(), cut > 1);
    }
    let notice = read(&text[..text.len() - 2]).notice.expect("a notice");
    assert_eq!(notice, "line 4 is cut off and was skipped");
}

#[test]
fn a_damaged_line_is_an_error_with_its_number() {
    let mut lines = three_rounds();
    lines[2] = "{\"round\":\n".to_owned();
    let error = error(&lines.concat());
    assert!(error.starts_with("line 3: EOF while parsing") && error.contains("copy it again"));
}

#[test]
fn a_missing_round_is_an_error() {
    let lines = three_rounds();
    let error = error(&[lines[0].as_str(), &lines[2]].concat());
    assert!(error.starts_with("line 2: the round refers to an earlier one"), "{error}");
}

#[test]
fn another_version_of_the_format_is_an_error() {
    let text = three_rounds().concat().replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(
        error(&text),
        "line 1: version 2 of the format, this Rolecall reads version 1: read the file with the \
         version of Rolecall that wrote it"
    );
}

#[test]
fn other_files_are_no_recordings() {
    for text in ["{}\n", "hello\n", "", "{\"header\":{\"format\":\"x\",\"version\":1}}\n"] {
        let error = error(text);
        assert!(error.starts_with("line 1: ") && error.contains("recording"), "{error}");
    }
    let twice = three_rounds().concat().repeat(2);
    assert!(error(&twice).starts_with("line 5: a second header"));
}

#[test]
fn unknown_values_are_errors_that_name_a_newer_version() {
    let lines = three_rounds();
    let text = lines.concat() + "{\"round\":{\"at\":1,\"now\":1,\"nodes\":[{\"failed\":\"x\"}]}}\n";
    let error = error(&text);
    assert!(error.starts_with("line 5: unknown reason \"x\"") && error.contains("newer version"));
}

#[test]
fn unknown_names_are_ignored() {
    let mut lines = three_rounds();
    lines[0] = lines[0].replacen("\"rolecall\"", "\"more\":[1],\"rolecall\"", 1);
    lines[1] = lines[1].replacen("\"now\"", "\"more\":{},\"now\"", 1);
    lines[1] = lines[1].replacen("\"state\":{", "\"state\":{\"more\":{\"x\":1},", 1);
    lines.insert(2, "{\"more\":{}}\n".to_owned());
    let text = lines.concat();
    assert_eq!(text.matches("more").count(), 4);
    assert_eq!(read(&text).rounds.len(), 3);
}

#[test]
fn a_reader_can_begin_at_a_full_round() {
    let (mut encoder, deployment) = (Encoder::default(), deployment());
    let header = encoder.header(&header());
    let skipped = encoder.round(&round(1, reply(&master(1))), &deployment);
    encoder.restart();
    let full = encoder.round(&round(2, reply(&master(2))), &deployment);
    let next = encoder.round(&round(3, reply(&master(3))), &deployment);
    let recording = read(&[header, full, next].concat());
    assert_eq!(recording.rounds.len(), 2);
    assert!(skipped.contains("\"full\":true"));
}

#[test]
fn a_recording_states_that_rounds_are_missing() {
    let mut lines = three_rounds();
    lines.insert(2, Encoder::default().dropped(7));
    let recording = read(&lines.concat());
    assert_eq!((recording.dropped, recording.is_complete()), (7, false));
    assert_eq!(read(&recording.text()).dropped, 7);
}

#[test]
fn expectations_are_read_and_written() {
    let expectation = Expectation::of(Verdict::Primary { node: Some("a".to_owned()) });
    let mut lines = three_rounds();
    lines.push(Encoder::default().expectation(&expectation));
    let recording = read(&lines.concat());
    assert_eq!(recording.expectations, [expectation]);
    assert_eq!(read(&recording.text()).expectations, recording.expectations);
    assert_eq!(recording.judge(&recording.expectations), [Judgement::Holds]);
}

#[test]
fn a_recording_has_no_names_of_clients_and_no_secrets() {
    let list = "id=4 addr=10.0.0.5:1 name=alice age=7 idle=3 flags=N cmd=set user=bob \
                lib-name=redis-py lib-ver=5\n\
                id=5 addr=10.0.0.6:1 name=sentinel-ab-cmd age=7 idle=3 flags=N cmd=ping\n";
    let mut config = Config::default();
    let words = ["requirepass", "hunter2", "dir", "/data"].map(|word| Reply::Text(word.into()));
    config.add(&Reply::Array(words.into()));
    let reply = reply(&master(1));
    let snapshot = NodeSnapshot::clone(&reply.snapshot);
    let text = lines(vec![NodeReply {
        snapshot: Arc::new(NodeSnapshot { config: Some(Arc::new(config)), ..snapshot }),
        clients: Some(Client::parse_list(list).into()),
        ..reply
    }])
    .concat();
    for secret in ["alice", "bob", "requirepass", "hunter2"] {
        assert!(!text.contains(secret), "{secret}");
    }
    for kept in ["redis-py", "sentinel-ab-cmd", "/data", "10.0.0.5:1"] {
        assert!(text.contains(kept), "{kept}");
    }
}

#[test]
fn outcomes_belong_to_addresses_and_not_to_positions() {
    let deployment = |order: [&str; 2]| {
        let mut deployment =
            Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
        for name in order {
            deployment.add(name, format!("{name}:6379"), None);
        }
        Arc::new(deployment)
    };
    let header =
        |deployment: &Arc<Deployment>| Header { deployment: Arc::clone(deployment), ..header() };
    let [first, second] = [deployment(["a", "b"]), deployment(["b", "a"])];
    let replica = "run_id:b\nrole:slave\nmaster_host:a\nmaster_port:6379\n";
    let outcomes = [master(1).as_str(), replica].map(|info| PollOutcome::Answered(reply(info)));
    let round = Round::new(SystemTime::UNIX_EPOCH, Monotonic::START, outcomes.to_vec());
    let mut encoder = Encoder::default();
    let text = encoder.header(&header(&first)) + &encoder.round(&round, &first);
    let mut recording = read(&text);
    // Another version may put the nodes into another order, or may not know one of them yet.
    for (deployment, primary) in [(first, "a"), (second, "a"), (deployment(["a", "c"]), "a")] {
        recording.header = header(&deployment);
        let view = recording.replay().last().expect("a round").result.view;
        let found = view.shards[0].primary.map(|primary| view.name(primary.node));
        assert_eq!(found, Some(primary));
    }
}

#[test]
fn expectations_about_unknown_things_cannot_be_compared() {
    let recording = read(&three_rounds().concat());
    let state = |node: &str, state: &str| {
        Expectation::of(Verdict::NodeState { node: node.to_owned(), state: state.to_owned() })
    };
    let finding =
        |kind: &str| Expectation::of(Verdict::Finding { kind: kind.to_owned(), node: None });
    let shard = Some("0".to_owned());
    let wrong = [
        (state("b", "up"), "there is no node \"b\""),
        (state("a", "upp"), "unknown value \"upp\""),
        (finding("RedisDwn"), "unknown value \"RedisDwn\""),
        (Expectation { at: Some(7), ..state("a", "up") }, "there is no such round"),
        (Expectation { shard, ..Expectation::of(Verdict::Disputed(false)) }, "there is no shard"),
    ];
    for (expectation, expected) in wrong {
        for not in [false, true] {
            let expectation = Expectation { not, ..expectation.clone() };
            match recording.judge(std::slice::from_ref(&expectation)).remove(0) {
                Judgement::Undefined { why } => assert!(why.contains(expected), "{why}"),
                judgement => panic!("{expectation:?} {judgement}"),
            }
        }
    }
}
