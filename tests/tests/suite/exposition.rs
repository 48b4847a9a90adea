//! Formats of `/metrics`, checked with Prometheus and strict parsers.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use tests::{Daemon, Prometheus, Redis, eventually, free_port, open_metrics_parser, promtool};

const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Starts a primary with two replicas and a daemon that polls them.
fn deployment() -> (Vec<Redis>, Daemon) {
    let primary = Redis::start(&["--appendonly", "yes"]);
    let servers = vec![primary.replica(), primary.replica(), primary];
    let daemon = Daemon::watch(&servers.iter().collect::<Vec<_>>());
    let labels = ("node", servers[2].address());
    eventually(Duration::from_secs(5), "series from CONFIG GET are present", || {
        daemon.samples().get("redis_config_auto_aof_rewrite_percentage", &[(labels.0, &labels.1)])
    });
    (servers, daemon)
}

#[test]
fn both_formats_pass_strict_parsers() {
    let (_servers, daemon) = deployment();
    let text = daemon.get("/metrics", "");
    assert_eq!(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(promtool(&text.text), "", "promtool reports no problems");

    let open_metrics = daemon.get("/metrics", OPEN_METRICS);
    assert_eq!(
        open_metrics.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let samples = open_metrics.text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(open_metrics_parser(&open_metrics.text), samples);
    assert!(samples > 300, "{samples} samples of three nodes");
}

#[test]
fn prometheus_ingests_every_sample_of_both_formats() {
    let (_servers, daemon) = deployment();
    let plain = plain_text_proxy(daemon.port);
    let prometheus = Prometheus::start(&[("openmetrics", daemon.port), ("text", plain)]);
    for job in ["openmetrics", "text"] {
        eventually(Duration::from_secs(20), "the target was scraped", || {
            prometheus.query(&format!("count_over_time(up{{job='{job}'}}[1m]) >= 3"))
        });
        assert_eq!(prometheus.target(job), Some(("up".to_owned(), String::new())), "{job}");
        assert_eq!(
            prometheus.query(&format!("min_over_time(up{{job='{job}'}}[1m])")),
            Some(1.0),
            "{job}"
        );
        assert_eq!(prometheus.query(&format!("sum(redis_up{{job='{job}'}})")), Some(3.0), "{job}");
        // Two scrapes may differ by a sample if a new command appears in between, so both counts
        // come from Prometheus.
        let ingested = prometheus.query(&format!(
            "scrape_samples_scraped{{job='{job}'}} == scrape_samples_post_metric_relabeling"
        ));
        assert!(ingested > Some(300.0), "{job}: {ingested:?} samples");
        let series = prometheus
            .query(&format!("count({{job='{job}', __name__=~'redis_.+|rolecall_.+|process_.+'}})"));
        assert_eq!(series, ingested, "{job}: every sample became a series");
    }
    let types = prometheus.types();
    for (name, kind) in [
        ("redis_up", "gauge"),
        ("redis_polls_total", "counter"),
        ("redis_commands_total", "counter"),
    ] {
        assert!(
            types.iter().any(|(metric, type_)| metric.starts_with(name.trim_end_matches("_total"))
                && type_ == kind),
            "{name} {kind}"
        );
    }
}

#[test]
fn response_is_compressed_on_request() {
    let (_servers, daemon) = deployment();
    let fetch = |encoding: &str| {
        let output = Command::new("curl")
            .args([
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                "%{size_download}",
                "-H",
                &format!("Accept-Encoding: {encoding}"),
            ])
            .arg(format!("http://127.0.0.1:{}/metrics", daemon.port))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).parse::<f64>().expect("a size")
    };
    let (plain, gzip) = (fetch("identity"), fetch("gzip"));
    assert!(gzip < plain / 4.0, "{gzip} of {plain} bytes");
}

/// Starts a proxy that requests text format 0.0.4 from the daemon and passes it on unchanged.
/// Prometheus 2.42 always requests OpenMetrics.
fn plain_text_proxy(daemon: u16) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_plain_text(stream, daemon));
        }
    });
    port
}

fn serve_plain_text(mut stream: std::net::TcpStream, daemon: u16) {
    use std::io::{BufRead, BufReader};
    let request =
        BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
    if request.take_while(|line| !line.is_empty()).count() == 0 {
        return;
    }
    let Ok(mut response) = ureq::get(format!("http://127.0.0.1:{daemon}/metrics"))
        .header("Accept", "text/plain")
        .call()
    else {
        return;
    };
    let text = response.body_mut().read_to_string().expect("text");
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    // Prometheus may have closed the connection.
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len());
}
