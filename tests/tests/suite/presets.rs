//! Presets of services and server systems: fake servers that reply as the documentation states, and
//! a real server that has more than its preset states.

use std::fmt::Write;

use tests::{Daemon, DocumentedServer, FakeServer, Redis, SECOND, deployment, eventually};

/// Presets with the role that their server reports.
const PRESETS: [(&str, Option<&str>); 9] = [
    ("elasticache", Some("master")),
    ("memorydb", Some("master")),
    ("memorystore", Some("master")),
    ("azure", None),
    ("redis-enterprise", Some("master")),
    ("upstash", None),
    ("dragonfly", Some("master")),
    ("keydb", None),
    ("kvrocks", Some("master")),
];

/// Returns a deployment of one node that is polled often.
fn polled_often(name: &str, server: &FakeServer) -> String {
    format!(
        "[[deployment]]\nname = '{name}'\nnodes = [{{ url = '{}', name = 'n' }}]\n\
         interval = '1s'\ncadence = {{ commands = '1s', slowlog = '1s', config = '1s' }}\n",
        server.stub.url()
    )
}

#[test]
fn no_service_is_sent_a_command_that_does_not_exist_there() {
    let servers = PRESETS.map(|(preset, _)| DocumentedServer::start(preset));
    let mut text = String::new();
    for ((preset, _), server) in PRESETS.iter().zip(&servers) {
        let _ = writeln!(text, "{}preset = '{preset}'", polled_often(preset, &server.server));
    }
    let daemon = Daemon::configured(&text);
    for (preset, _) in PRESETS {
        daemon.until(SECOND * 10, "redis_up", &[("deployment", preset)], 1.0);
    }
    let polled = |name: &str| daemon.samples().get("redis_polls_total", &[("deployment", name)]);
    eventually(SECOND * 40, "fifteen polls of each", || {
        PRESETS.iter().all(|(preset, _)| polled(preset) >= Some(15.0)).then_some(())
    });
    for ((preset, role), server) in PRESETS.iter().zip(&servers) {
        assert_eq!(server.refused(), Vec::<String>::new(), "{preset}");
        let labels = [("deployment", *preset)];
        let samples = daemon.samples();
        assert_eq!(samples.get("redis_up", &labels), Some(1.0), "{preset}");
        assert_eq!(samples.get("redis_deployment_no_primary", &labels), Some(0.0), "{preset}");
        let claimed =
            role.map(|role| samples.get("redis_role", &[("deployment", preset), ("role", role)]));
        assert_eq!(claimed.flatten(), role.map(|_| 1.0), "{preset}");
        assert_eq!(samples.count("redis_role", &labels), role.map_or(0, |_| 3), "{preset}");
        // A role that is not known is never claimed to be known.
        let unknown = samples.get("redis_role_unknown", &labels);
        assert_eq!(unknown, role.map(|_| 0.0), "{preset}");
        let writable = samples.get("redis_deployment_writable", &labels);
        assert_eq!(writable, role.map(|_| 1.0), "{preset}");
        let page = daemon.get(&format!("/deployment/{preset}"), "").text;
        assert!(page.contains(&format!("Preset {preset}.")), "{page}");
    }
    daemon.until_no_findings(SECOND * 5);
    let refusals = daemon.log().into_iter().filter(|line| line.contains("command refused"));
    assert_eq!(refusals.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn without_its_preset_a_service_refuses_commands() {
    let server = DocumentedServer::start("elasticache");
    let daemon = Daemon::configured(&polled_often("plain", &server.server));
    eventually(SECOND * 20, "a refused command", || (!server.refused().is_empty()).then_some(()));
    daemon.until(SECOND * 5, "redis_up", &[], 1.0);
    assert!(server.refused()[0].starts_with("CONFIG GET"), "{:?}", server.refused());
}

#[test]
fn a_preset_that_the_server_contradicts_does_no_harm() {
    let server = Redis::start(&["--maxmemory", "100mb"]);
    let text = |more: &str| {
        format!("{}preset = 'upstash'\ninterval = '1s'\n{more}\n", deployment("a", &[&server]))
    };
    let daemon = Daemon::configured(&text(""));
    daemon.until(SECOND * 5, "redis_role", &[("role", "master")], 1.0);
    daemon.until_rounds(5);
    daemon.until_no_findings(SECOND * 5);
    assert_eq!(daemon.samples().count("redis_config_maxmemory", &[]), 0);
    let calls = server.cli(&["INFO", "commandstats"]);
    for command in ["config", "slowlog", "cluster"] {
        assert!(!calls.contains(&format!("cmdstat_{command}|")), "{calls}");
    }
    // A key in the file overrides the preset.
    daemon.reload(&text("skip_commands = ['CLUSTER']"));
    daemon.until(SECOND * 10, "redis_config_maxmemory", &[], 100.0 * 1024.0 * 1024.0);
    daemon.until_no_findings(SECOND * 5);
}
