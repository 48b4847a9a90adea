//! A real Prometheus.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, eventually, free_port};

/// A real Prometheus.
pub struct Prometheus {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with a job for each of these names and addresses, each scraped every second, and waits until it is ready.
    pub fn start(jobs: &[(&str, u16)]) -> Self {
        let job = |(job, port): &(&str, u16)| {
            format!(
                "{{ job_name: {job}, static_configs: [ {{ targets: ['127.0.0.1:{port}'] }} ] }}"
            )
        };
        let jobs: Vec<_> = jobs.iter().map(job).collect();
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs: [ {} ]\n",
            jobs.join(", ")
        );
        Self::configured(tempfile::tempdir().expect("a directory"), &text, &[])
    }

    /// Starts it with this configuration and more arguments in a directory, which may have files that are named there, and waits until it
    /// is ready.
    pub(crate) fn configured(directory: TempDir, text: &str, arguments: &[&str]) -> Self {
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, text).expect("the configuration");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(arguments);
        let prometheus =
            Prometheus { port, _process: Process::start(&mut command), _directory: directory };
        eventually(Duration::from_secs(30), "Prometheus is ready", || {
            fetch(port, "/-/ready", &[]).map(drop)
        });
        prometheus
    }

    /// The value of an instant query with one result.
    pub fn query(&self, expression: &str) -> Option<f64> {
        let answer = self.data("query", &[("query", expression)])?;
        let result = answer["result"].as_array()?;
        assert!(result.len() <= 1, "{expression}: {} results", result.len());
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// What it says of the target of a job: health and the last error.
    pub fn target(&self, job: &str) -> Option<(String, String)> {
        let answer = self.data("targets", &[])?;
        let target = answer["activeTargets"]
            .as_array()?
            .iter()
            .find(|target| target["labels"]["job"] == job)?;
        Some((target["health"].as_str()?.to_owned(), target["lastError"].as_str()?.to_owned()))
    }

    /// Names of families and their types, as it understood them.
    pub fn types(&self) -> Vec<(String, String)> {
        let answer = self.data("metadata", &[]).expect("metadata");
        let families = answer.as_object().expect("families");
        families
            .iter()
            .map(|(name, about)| {
                (name.clone(), about[0]["type"].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// What its API answers, if it does.
    pub(crate) fn data(&self, what: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let text = fetch(self.port, &format!("/api/v1/{what}"), parameters)?;
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        Some(answer["data"].take())
    }
}

/// The text at a path of a server on this machine, if it has one.
pub(crate) fn fetch(port: u16, path: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into();
    let request =
        agent.get(format!("http://127.0.0.1:{port}{path}")).query_pairs(parameters.iter().copied());
    request.call().ok()?.body_mut().read_to_string().ok()
}
