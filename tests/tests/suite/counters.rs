//! Counters of errors and topology commands: they never decrease or jump, and do not include the
//! commands of Rolecall itself.

use snapshot::ErrorStats;
use tests::{Daemon, Redis, SECOND, eventually, open_metrics_parser, promtool};

fn errors(daemon: &Daemon, code: &str) -> Option<f64> {
    daemon.samples().get("redis_errors_total", &[("err", code)])
}

#[test]
fn rolecall_restart_adds_no_errors() {
    let server = Redis::start(&[]);
    for _ in 0..50 {
        server.cli(&["NOSUCH"]);
    }
    server.cli(&["CONFIG", "SET", "hz", "11"]);
    for _ in 0..2 {
        let daemon = Daemon::watch(&[&server]);
        daemon.until(SECOND * 5, "redis_error_replies_total", &[], 0.0);
        daemon.until(
            SECOND * 5,
            "redis_topology_commands_total",
            &[("command", "config_set")],
            0.0,
        );
        server.cli(&["NOSUCH"]);
        server.cli(&["CONFIG", "SET", "hz", "12"]);
        daemon.until(SECOND * 5, "redis_error_replies_total", &[], 1.0);
        daemon.until(
            SECOND * 15,
            "redis_topology_commands_total",
            &[("command", "config_set")],
            1.0,
        );
    }
}

#[test]
fn counters_survive_resetstat_and_a_server_restart() {
    let mut server = Redis::start(&[]);
    let daemon = Daemon::watch(&[&server]);
    daemon.until(SECOND * 5, "redis_error_replies_total", &[], 0.0);
    let fail = || server.cli(&["LPUSH"]);
    for expected in [1.0, 2.0, 3.0] {
        fail();
        daemon.until(SECOND * 3, "redis_errors_total", &[("err", "ERR")], expected);
    }
    server.cli(&["CONFIG", "RESETSTAT"]);
    fail();
    daemon.until(SECOND * 3, "redis_errors_total", &[("err", "ERR")], 4.0);
    assert_eq!(daemon.value("redis_error_replies_total"), Some(4.0));
    server.kill();
    daemon.until(SECOND * 3, "redis_up", &[], 0.0);
    server.restart();
    server.cli(&["LPUSH"]);
    daemon.until(SECOND * 12, "redis_errors_total", &[("err", "ERR")], 5.0);
    assert_eq!(daemon.value("redis_restarts_total"), Some(1.0));
}

#[test]
fn info_only_user_is_refused_once_and_not_counted() {
    for version in ["redis-6.2.14", "redis-7.0.15"] {
        let server = Redis::with_version(
            version,
            &["--user", "rolecall", "on", ">secret", "-@all", "+info"],
        );
        let daemon = Daemon::serve(&[&format!("redis://rolecall:secret@{}", server.address())]);
        eventually(SECOND * 5, "CONFIG and SLOWLOG were refused", || {
            (daemon.log().iter().filter(|line| line.contains("command refused")).count() == 2)
                .then_some(())
        });
        let noperm = || {
            server
                .info("errorstat_NOPERM")
                .map(|count| count.trim_start_matches("count=").parse::<f64>().expect("a count"))
        };
        assert_eq!(noperm(), Some(2.0), "{version}: each command is refused once");
        let rounds = daemon.value("rolecall_rounds_total").expect("rounds");
        eventually(SECOND * 8, "five rounds", || {
            (daemon.value("rolecall_rounds_total") >= Some(rounds + 5.0)).then_some(())
        });
        assert_eq!(noperm(), Some(2.0), "{version}: no command is sent again");
        // A new connection to the same process sends no refused command.
        server.cli(&["CLIENT", "KILL", "USER", "rolecall"]);
        eventually(SECOND * 8, "five rounds", || {
            (daemon.value("rolecall_rounds_total") >= Some(rounds + 10.0)).then_some(())
        });
        assert_eq!(noperm(), Some(2.0), "{version}: no command is sent again");
        assert_eq!(
            (errors(&daemon, "NOPERM"), daemon.value("redis_error_replies_total")),
            (Some(0.0), Some(0.0)),
            "{version}"
        );
        // Refused commands of other clients are counted.
        server.cli(&["--user", "rolecall", "--pass", "secret", "GET", "x"]);
        daemon.until(SECOND * 3, "redis_errors_total", &[("err", "NOPERM")], 1.0);
    }
}

#[test]
fn server_without_config_has_all_metrics_from_info() {
    let server = Redis::start(&["--rename-command", "CONFIG", ""]);
    let daemon = Daemon::watch(&[&server]);
    eventually(SECOND * 5, "CONFIG was refused", || {
        daemon.log().iter().any(|line| line.contains("command=\"CONFIG GET\"")).then_some(())
    });
    let samples = daemon.samples();
    assert_eq!(samples.count("redis_config_maxclients", &[]), 0);
    assert!(
        samples.count("redis_commands_total", &[]) > 0
            && samples.get("redis_aof_enabled", &[]) == Some(0.0)
    );
    assert_eq!(samples.get("redis_writes_refused", &[("reason", "misconf_rdb")]), Some(0.0));
    assert_eq!(samples.get("redis_error_replies_total", &[]), Some(0.0));
    let before = (server.info("total_error_replies"), daemon.log().len());
    daemon.until(
        SECOND * 15,
        "rolecall_rounds_total",
        &[],
        samples.get("rolecall_rounds_total", &[]).expect("rounds") + 6.0,
    );
    assert_eq!(
        (server.info("total_error_replies"), daemon.log().len()),
        before,
        "no error and no log line per round"
    );
}

/// Codes with a series: those up to the limit of 100, those with a series from the start, `other`.
const BOUND: usize = 100 + ErrorStats::WATCHED.len() + 1;

#[test]
fn error_codes_from_scripts_stay_bounded_and_valid() {
    for version in ["redis-6.2.14", "redis-7.0.15", "redis-8.2.3", "valkey-9.1.2"] {
        let server = Redis::with_version(version, &[]);
        let daemon = Daemon::configured(&format!(
            "[[deployment]]\nname = 'a'\nnodes = [{{ url = '{}' }}]\n\
             limits = {{ label_values = 100 }}\n",
            server.url()
        ));
        daemon.until(SECOND * 5, "redis_errors_total", &[("err", "READONLY")], 0.0);
        for code in
            ["a_b=c,d\"", "x{y=\"z\"}", "tab\\tand\\nline", "caf\\195\\169", &"long".repeat(5000)]
        {
            server.cli(&["EVAL", &format!("return redis.error_reply('{code} text')"), "0"]);
        }
        let script = "for i = 1, 400 do redis.pcall('EVAL', 'x', 0) end \
                      return redis.error_reply('CODE' .. ARGV[1] .. ' text')";
        for number in 0..300 {
            server.cli(&["EVAL", script, "0", &number.to_string()]);
        }
        // Redis 7.4 and later then disables its error statistics; the other servers keep them.
        let disabled = version == "redis-8.2.3";
        daemon.until(SECOND * 5, "redis_errorstats_disabled", &[], f64::from(u8::from(disabled)));
        eventually(SECOND * 5, &format!("{version}: further codes are counted as other"), || {
            let samples = daemon.samples();
            let overflow = samples.get("redis_errors_overflow_total", &[]);
            let codes = samples.count("redis_errors_total", &[]);
            let counted = overflow.is_some_and(|overflow| overflow > 100.0)
                && (100..=BOUND).contains(&codes)
                && samples.get("redis_errors_total", &[("err", "other")]) == overflow;
            (counted || (disabled && overflow.is_none() && codes == 0)).then_some(())
        });
        assert_eq!(promtool(&daemon.get("/metrics", "").text), "", "{version}");
        assert!(
            open_metrics_parser(&daemon.get("/metrics", "application/openmetrics-text").text) > 100,
            "{version}"
        );
        assert_eq!(daemon.get(&format!("/scrape?target={}", server.address()), "").status, 200);
    }
}
