//! Shrinking of recordings with a synthetic fault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use recording::{
    Encoder, Expectation, Header, Judgement, Recording, Verdict, shrink, shrink_while,
};
use snapshot::{NodeSnapshot, Reason};
use topology::{Deployment, DeploymentKind, Monotonic, NodeReply, PollOutcome, Round};

const SECOND: Duration = Duration::from_secs(1);

/// Node that fails, and that is expected to stay up.
const FAILING: usize = 3;

fn info(node: usize, second: u32) -> String {
    let role = if node == 0 { "master" } else { "slave" };
    let filler: Vec<_> =
        (0..60).map(|number| format!("filler_{number}:{}\n", second + number)).collect();
    format!(
        "run_id:{node}\nuptime_in_seconds:{second}\nrole:{role}\nmaster_host:10.0.0.1\n\
         master_port:6379\nmaster_link_status:up\nmaster_repl_offset:{second}\n{}\
         # Errorstats\nerrorstat_ERR:count={second}\n",
        filler.concat()
    )
}

/// Returns a recording of four nodes and 40 s, in which one node refuses connections from the 30th
/// second on.
fn recorded() -> Recording {
    let mut deployment = Deployment::new("orders", DeploymentKind::Static, &[], SECOND, SECOND * 3);
    for node in 1..5 {
        deployment.add(format!("n{node}"), format!("10.0.0.{node}:6379"), None);
    }
    let (mut encoder, deployment) = (Encoder::default(), Arc::new(deployment));
    let header =
        Header { rolecall: "1".to_owned(), deployment: Arc::clone(&deployment), restored: None };
    let mut text = encoder.header(&header);
    for second in 1..40 {
        let now = Monotonic::START + SECOND * second;
        let at = SystemTime::UNIX_EPOCH + now.since_start();
        let outcomes = (0..4).map(|node| {
            if node == FAILING && second >= 30 {
                return PollOutcome::Failed(Reason::Refused);
            }
            let snapshot = NodeSnapshot::from_info(&info(node, second)).expect("a reply to INFO");
            PollOutcome::Answered(NodeReply::new(snapshot, Duration::ZERO, at))
        });
        text += &encoder.round(&Round::new(at, now, outcomes.collect()), &deployment);
    }
    Recording::read(text.as_bytes()).expect("a recording")
}

fn expects_up() -> Expectation {
    Expectation::of(Verdict::NodeState { node: "n4".to_owned(), state: "up".to_owned() })
}

fn judge(recording: &Recording, expectation: &Expectation) -> Judgement {
    recording.judge(std::slice::from_ref(expectation)).remove(0)
}

#[test]
fn shrinking_keeps_only_what_the_wrong_verdict_needs() {
    let (recording, expectation) = (recorded(), expects_up());
    let down = Judgement::Violated { found: "down (refused)".to_owned() };
    assert_eq!(judge(&recording, &expectation), down);
    let shrunk = shrink(&recording, &expectation, 2000);
    assert_eq!(judge(&shrunk.recording, &expectation), down);
    let text = shrunk.recording.text();
    assert!(recording.text().len() > 50_000, "{} bytes", recording.text().len());
    assert!(text.len() < 2000, "{} bytes\n{text}", text.len());
    assert!(!text.contains("filler") && !text.contains("errorstat"), "{text}");
    assert!(shrunk.recording.rounds.len() <= 3, "{text}");
    assert_eq!(shrunk.recording.header.deployment.nodes.len(), 1, "{text}");
    assert!(shrunk.replays < 500, "{} replays", shrunk.replays);
    let read = Recording::read(text.as_bytes()).expect("a recording");
    assert_eq!(judge(&read, &expectation), down);
}

#[test]
fn shrinking_is_deterministic() {
    let recording = recorded();
    let shrunk = [(); 2].map(|()| shrink(&recording, &expects_up(), 2000));
    assert_eq!(shrunk[0].recording.text(), shrunk[1].recording.text());
    assert_eq!(shrunk[0].replays, shrunk[1].replays);
}

#[test]
fn shrinking_ends_at_the_limit_of_replays() {
    let (recording, expectation) = (recorded(), expects_up());
    for limit in [1, 2, 10] {
        let shrunk = shrink(&recording, &expectation, limit);
        assert!(shrunk.replays <= limit, "{} replays", shrunk.replays);
        assert!(matches!(judge(&shrunk.recording, &expectation), Judgement::Violated { .. }));
    }
}

#[test]
fn a_recording_that_violates_nothing_stays_as_it_is() {
    let recording = recorded();
    let expectation = Expectation { not: true, ..expects_up() };
    assert_eq!(judge(&recording, &expectation), Judgement::Holds);
    let shrunk = shrink(&recording, &expectation, 2000);
    assert_eq!(shrunk.recording.text(), recording.text());
}

#[test]
fn the_judged_round_remains() {
    let recording = recorded();
    let at = 35_000_000_000;
    let expectation = Expectation { at: Some(at), ..expects_up() };
    let shrunk = shrink(&recording, &expectation, 2000).recording;
    let down = Judgement::Violated { found: "down (refused)".to_owned() };
    assert_eq!(judge(&shrunk, &expectation), down);
    let judged = SystemTime::UNIX_EPOCH + Duration::from_nanos(at);
    assert!(shrunk.rounds.iter().any(|recorded| recorded.round.at == judged));
}

#[test]
fn a_recording_shrinks_while_a_condition_holds() {
    let recording = recorded();
    let expectations = [
        Expectation::of(Verdict::Primary { node: Some("n1".to_owned()) }),
        Expectation::of(Verdict::Finding {
            kind: "RedisDown".to_owned(),
            node: Some("n4".to_owned()),
        }),
    ];
    let holds = |recording: &Recording| {
        recording.judge(&expectations).iter().all(|judgement| *judgement == Judgement::Holds)
    };
    assert!(holds(&recording));
    let shrunk = shrink_while(&recording, &BTreeSet::new(), 2000, holds).recording;
    assert!(holds(&shrunk));
    assert_eq!(shrunk.header.deployment.nodes.len(), 2);
    assert!(shrunk.text().len() < 3000, "{}", shrunk.text());
}
