//! Prometheus server.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, SECOND, eventually, free_port};

/// Running Prometheus server.
pub struct Prometheus {
    port: u16,
    process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts Prometheus with a job for each of these names and ports of 127.0.0.1, scraped every
    /// second. Waits until Prometheus is ready.
    pub fn start(jobs: &[(&str, u16)]) -> Self {
        Self::start_with_interval(jobs, SECOND)
    }

    /// Does the same as [`Self::start`] with another time between scrapes.
    pub fn start_with_interval(jobs: &[(&str, u16)], interval: Duration) -> Self {
        let job = |(job, port): &(&str, u16)| {
            format!(
                "{{ job_name: {job}, static_configs: [ {{ targets: ['127.0.0.1:{port}'] }} ] }}"
            )
        };
        let jobs: Vec<_> = jobs.iter().map(job).collect();
        let text = format!(
            "global: {{ scrape_interval: {seconds}s, scrape_timeout: {seconds}s }}\n\
             scrape_configs: [ {} ]\n",
            jobs.join(", "),
            seconds = interval.as_secs(),
        );
        Self::configured(tempfile::tempdir().expect("cannot create a directory"), &text, &[])
    }

    /// Starts Prometheus with this configuration and additional arguments, and waits until it is
    /// ready. `directory` may contain files to which the configuration refers.
    pub(crate) fn configured(directory: TempDir, text: &str, arguments: &[&str]) -> Self {
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, text).expect("cannot write the configuration");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(arguments);
        let prometheus =
            Prometheus { port, process: Process::start(&mut command), _directory: directory };
        eventually(Duration::from_secs(30), "Prometheus is ready", || {
            fetch(port, "/-/ready", &[]).map(drop)
        });
        prometheus
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the value of an instant query; nothing without a result. Panics if there are several
    /// results.
    pub fn query(&self, expression: &str) -> Option<f64> {
        let answer = self.data("query", &[("query", expression)])?;
        let result = answer["result"].as_array()?;
        assert!(result.len() <= 1, "{expression}: {} results", result.len());
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Returns the health and the last error of the target of a job.
    pub fn target(&self, job: &str) -> Option<(String, String)> {
        let answer = self.data("targets", &[])?;
        let target = answer["activeTargets"]
            .as_array()?
            .iter()
            .find(|target| target["labels"]["job"] == job)?;
        Some((target["health"].as_str()?.to_owned(), target["lastError"].as_str()?.to_owned()))
    }

    /// Returns the names and types of all metric families.
    pub fn types(&self) -> Vec<(String, String)> {
        let answer = self.data("metadata", &[]).expect("no metadata");
        let families = answer.as_object().expect("the metadata is not an object");
        families
            .iter()
            .map(|(name, about)| {
                (name.clone(), about[0]["type"].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// Returns the field `data` of an API response; nothing if the request fails.
    pub(crate) fn data(&self, what: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let text = fetch(self.port, &format!("/api/v1/{what}"), parameters)?;
        let mut answer: Value = serde_json::from_str(&text).expect("invalid JSON");
        Some(answer["data"].take())
    }
}

/// Returns the body of a successful GET request to a port of 127.0.0.1.
pub(crate) fn fetch(port: u16, path: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into();
    let request =
        agent.get(format!("http://127.0.0.1:{port}{path}")).query_pairs(parameters.iter().copied());
    request.call().ok()?.body_mut().read_to_string().ok()
}
