//! `rolecall serve --debug.record-rounds`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use recording::{Recording, ReplayedRound};
use report::api::{events, findings, topology};
use serde_json::Value;
use tests::{Daemon, Disk, Redis, SECOND, deployment, eventually};

/// Returns the recordings in a directory, sorted by path.
fn recordings(directory: &Path) -> Vec<Recording> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    paths.sort();
    let read = |path| {
        let mode = std::fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A file that has no line yet is empty.
        Recording::read(&*std::fs::read(path).expect("a file")).ok()
    };
    paths.iter().filter_map(read).collect()
}

/// Returns the node that the replay of a recording shows as primary after its last round.
fn primary(recording: &Recording) -> Option<String> {
    let view = recording.replay().last()?.result.view;
    Some(view.name(view.shards[0].primary?.node).to_owned())
}

/// Returns the documents of the API about topology, findings and events after a round.
fn documents(round: &ReplayedRound<'_>) -> [Value; 3] {
    let views = [&round.result.view];
    [
        serde_json::to_value(topology(views)),
        serde_json::to_value(findings(views)),
        serde_json::to_value(events(views)),
    ]
    .map(|document| document.expect("a document"))
}

#[test]
fn recorded_rounds_replay_to_what_the_daemon_shows() {
    let directory = tempfile::tempdir().expect("a directory");
    let rounds = directory.path().join("rounds");
    let flag = format!("--debug.record-rounds={}", rounds.display());
    let first = Redis::start(&["--requirepass", "secret"]);
    let second = first.replica_with(&["--masterauth", "secret"]);
    second.until_synchronised();
    let nodes = |label: &str| {
        format!(
            "[[deployment]]\nname = 'orders'\nlabels = {{ team = '{label}' }}\nnodes = [\n\
             {{ url = 'redis://:secret@{}' }}, {{ url = '{}' }}]\n",
            first.address(),
            second.url()
        )
    };
    let daemon = Daemon::configured_with(&nodes("a"), &[&flag]);
    eventually(SECOND * 10, "a primary is recorded", || {
        let recordings = recordings(&rounds);
        (primary(recordings.first()?)? == first.address()).then_some(())
    });
    let authenticated = ["-a", "secret", "REPLICAOF", "127.0.0.1", &second.port.to_string()];
    second.promote();
    assert_eq!(first.cli(&authenticated).trim(), "OK");
    eventually(SECOND * 10, "the change is recorded", || {
        let recordings = recordings(&rounds);
        (primary(recordings.first()?)? == second.address()).then_some(())
    });
    daemon.until_primary(SECOND, &second, "sole");
    // The replay of some round shows exactly what the API shows.
    let paths = ["/api/v1/topology", "/api/v1/findings", "/api/v1/events"];
    for (path, place) in paths.into_iter().zip(0..) {
        let shown = daemon.document(path);
        eventually(SECOND * 5, path, || {
            let recording = recordings(&rounds).into_iter().next()?;
            let found = recording.replay().any(|round| documents(&round)[place] == shown);
            found.then_some(())
        });
    }
    let events = daemon.document("/api/v1/events").to_string();
    assert!(events.contains("primary_changed"), "{events}");
    daemon.reload(&nodes("b"));
    let (after, _) = eventually(SECOND * 10, "a second recording", || {
        let recordings = recordings(&rounds);
        (recordings.len() == 2 && primary(&recordings[1])? == second.address())
            .then_some(recordings)
    });
    assert_eq!(after[1].header.deployment.labels[1].1, "b");
    let restored = after[1].header.restored.as_ref().expect("a state");
    assert_eq!(restored.state.primary, Some(second.address()));
    for recording in &after {
        assert!(recording.is_complete() && !recording.rounds.is_empty());
    }
    for file in std::fs::read_dir(&rounds).expect("a directory") {
        let text = std::fs::read_to_string(file.expect("an entry").path()).expect("a file");
        assert!(!text.contains("secret") && !text.contains(tests::CLIENT_NAME));
    }
}

#[test]
fn a_full_disk_stops_the_recording_but_not_the_polling() {
    let disk = Disk::with_megabytes(1);
    let flag = format!("--debug.record-rounds={}/rounds", disk.folder());
    let server = Redis::start(&[]);
    let daemon = Daemon::configured_with(&deployment("orders", &[&server]), &[&flag]);
    eventually(SECOND * 10, "a round is recorded", || {
        recordings(&disk.path().join("rounds")).first().map(|_| ())
    });
    disk.fill();
    // The last page of the file has room for some rounds.
    let warnings = || {
        let log = daemon.log();
        log.iter().filter(|line| line.contains("cannot record rounds")).count()
    };
    eventually(SECOND * 20, "a warning", || (warnings() == 1).then_some(()));
    let before = daemon.value("rolecall_rounds_total").expect("rounds");
    eventually(SECOND * 10, "five more rounds", || {
        (daemon.value("rolecall_rounds_total")? >= before + 5.0).then_some(())
    });
    assert_eq!(warnings(), 1);
    let kept = recordings(&disk.path().join("rounds"));
    assert!(!kept[0].rounds.is_empty(), "what was written is readable");
}
