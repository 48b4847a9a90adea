//! A real Prometheus.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, eventually, free_port};

/// A real Prometheus that scrapes every second.
pub struct Prometheus {
    port: u16,
    _directory: TempDir,
    _process: Process,
}

impl Prometheus {
    /// Starts it with a job for each of these names and addresses, and waits until it is ready.
    pub fn start(jobs: &[(&str, u16)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = String::from("global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n");
        for (job, port) in jobs {
            writeln!(config, "- {{ job_name: {job}, static_configs: [ {{ targets: ['127.0.0.1:{port}'] }} ] }}").expect("to a string");
        }
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("the configuration");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let prometheus = Prometheus { port, _directory: directory, _process: Process::start(&mut command) };
        eventually(Duration::from_secs(30), "Prometheus is ready", || prometheus.fetch("/-/ready").map(|_| ()));
        prometheus
    }

    /// The value of an instant query with one result.
    pub fn query(&self, expression: &str) -> Option<f64> {
        let answer: Value = serde_json::from_str(&self.fetch(&format!("/api/v1/query?query={}", encoded(expression)))?).ok()?;
        let result = answer["data"]["result"].as_array()?;
        assert!(result.len() <= 1, "{expression}: {} results", result.len());
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// What it says of the target of a job: health and the last error.
    pub fn target(&self, job: &str) -> Option<(String, String)> {
        let answer: Value = serde_json::from_str(&self.fetch("/api/v1/targets")?).ok()?;
        let targets = answer["data"]["activeTargets"].as_array()?;
        let target = targets.iter().find(|target| target["labels"]["job"] == job)?;
        Some((target["health"].as_str()?.to_owned(), target["lastError"].as_str()?.to_owned()))
    }

    /// Names of families and their types, as it understood them.
    pub fn types(&self) -> Vec<(String, String)> {
        let answer: Value = self.fetch("/api/v1/metadata").and_then(|text| serde_json::from_str(&text).ok()).expect("metadata");
        let families = answer["data"].as_object().expect("families");
        families.iter().map(|(name, about)| (name.clone(), about[0]["type"].as_str().unwrap_or_default().to_owned())).collect()
    }

    fn fetch(&self, path: &str) -> Option<String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into();
        agent.get(format!("http://127.0.0.1:{}{path}", self.port)).call().ok()?.body_mut().read_to_string().ok()
    }
}

/// An expression as part of a URL.
pub(crate) fn encoded(expression: &str) -> String {
    expression.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}
