//! The whole way of an alert on real programs: Prometheus with the shipped rules, Alertmanager with the shipped configuration, and a receiver.
//! The durations of both are divided, by [`SCALE`] mostly, so that a test need not wait for minutes.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use crate::prometheus::fetch;
use crate::{Process, Prometheus, Stopwatch, eventually, free_port};

/// What the durations of rules and of Alertmanager are divided by, as a rule. Rolecall's own (`down_after`, rounds) stay as they are.
pub const SCALE: u32 = 10;

/// Prometheus, Alertmanager, and what arrived at its receivers.
pub struct Pager {
    alertmanager: u16,
    _notifier: Process,
    prometheus: Prometheus,
    arrived: Arc<Mutex<Vec<Notified>>>,
    clock: Arc<Stopwatch>,
}

/// One alert in a notification.
#[derive(Debug, Clone)]
pub struct Notified {
    /// The receiver that it arrived at.
    pub receiver: String,
    /// Its name.
    pub alert: String,
    /// Its severity.
    pub severity: String,
    /// The node that it is about, if it is about one.
    pub node: Option<String>,
    /// It is over.
    pub resolved: bool,
    /// When it arrived, since the pager was started.
    pub at: Duration,
    /// Its annotations.
    pub summary: String,
}

impl Pager {
    /// Starts both on what these ports of Rolecall expose, with durations divided by [`SCALE`], and waits until the rules were evaluated.
    pub fn start(rolecall: &[u16]) -> Self {
        Self::start_scaled(rolecall, SCALE)
    }

    /// The same with durations divided by another number.
    pub fn start_scaled(rolecall: &[u16], scale: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (arrived, clock) =
            (Arc::<Mutex<Vec<Notified>>>::default(), Arc::new(Stopwatch::start()));
        let receiver = receive(&arrived, &clock);
        let at = |name: &str| directory.path().join(name);

        std::fs::write(
            at("alertmanager.yaml"),
            alertmanager_configuration(receiver, &at("templates"), scale),
        )
        .expect("a file");
        std::fs::create_dir(at("templates")).expect("a folder");
        for template in std::fs::read_dir(shipped("templates")).expect("templates") {
            let template = template.expect("a template");
            std::fs::copy(template.path(), at("templates").join(template.file_name()))
                .expect("a copy");
        }
        let alertmanager = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", at("alertmanager.yaml").display()));
        command.arg(format!("--storage.path={}", at("alerts").display()));
        command.args([
            "--cluster.listen-address=",
            &format!("--web.listen-address=127.0.0.1:{alertmanager}"),
        ]);
        let notifier = Process::start(&mut command);

        for rules in ["redis.rules.yaml", "rolecall.rules.yaml"] {
            std::fs::write(at(rules), scaled_rules(rules, scale)).expect("a file");
        }
        let targets: Vec<_> = rolecall.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        let configuration = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [redis.rules.yaml, rolecall.rules.yaml]\n\
             alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['127.0.0.1:{alertmanager}'] }} ] }} ] }}\n\
             scrape_configs: [ {{ job_name: rolecall, static_configs: [ {{ targets: [{}] }} ] }} ]\n",
            targets.join(", ")
        );
        // Alertmanager holds an alert for over that was not sent again for four times as long, which a busy machine may need.
        let prometheus =
            Prometheus::configured(directory, &configuration, &["--rules.alert.resend-delay=5s"]);
        let pager = Pager { alertmanager, _notifier: notifier, prometheus, arrived, clock };
        // The one that always fires shows that all of it works.
        eventually(Duration::from_secs(120), "the watchdog arrives", || {
            pager.arrived().iter().any(|notified| notified.alert == "Watchdog").then_some(())
        });
        pager
    }

    /// Time since it was started.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Everything that arrived so far, in order.
    pub fn arrived(&self) -> Vec<Notified> {
        self.arrived.lock().expect("notifications").clone()
    }

    /// What arrived since then and is of some severity that somebody is told: names and severities.
    pub fn paged(&self, since: Duration) -> BTreeSet<(String, String)> {
        let told = |notified: &Notified| {
            !notified.resolved && notified.at >= since && notified.alert != "Watchdog"
        };
        self.arrived()
            .into_iter()
            .filter(told)
            .map(|notified| (notified.alert, notified.severity))
            .collect()
    }

    /// Waits until an alert arrived, and says when.
    #[track_caller]
    pub fn until(&self, limit: Duration, since: Duration, alert: &str, severity: &str) -> Duration {
        let is = |notified: &&Notified| {
            notified.alert == alert
                && notified.severity == severity
                && !notified.resolved
                && notified.at >= since
        };
        let arrived = || self.arrived().iter().find(is).map(|notified| notified.at);
        eventually(
            limit,
            &format!("{alert} arrives as {severity}; firing: {:?}", self.firing()),
            arrived,
        )
        .0
    }

    /// What arrived since then and is not resolved: names and severities.
    pub fn open(&self, since: Duration) -> BTreeSet<(String, String)> {
        let mut open = BTreeSet::new();
        for notified in self
            .arrived()
            .into_iter()
            .filter(|notified| notified.at >= since && notified.alert != "Watchdog")
        {
            let key = (notified.alert, notified.severity, notified.node);
            if notified.resolved {
                open.remove(&key)
            } else {
                open.insert(key)
            };
        }
        open.into_iter().map(|(alert, severity, _)| (alert, severity)).collect()
    }

    /// Waits until all that arrived since then is resolved.
    #[track_caller]
    pub fn until_resolved(&self, limit: Duration, since: Duration) -> Duration {
        let is_over = || self.open(since).is_empty().then(|| self.now());
        eventually(limit, &format!("all is resolved; open: {:?}", self.open(since)), is_over).0
    }

    /// The alerts that Prometheus holds to be firing now, with their severity.
    pub fn firing(&self) -> BTreeSet<(String, String)> {
        let Some(data) = self.prometheus.data("alerts", &[]) else { return BTreeSet::new() };
        let alerts = data["alerts"].as_array().expect("alerts").iter();
        let firing =
            alerts.filter(|alert| alert["state"] == "firing").map(|alert| &alert["labels"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        firing
            .map(|labels| (text(&labels["alertname"]), text(&labels["severity"])))
            .filter(|(alert, _)| alert != "Watchdog")
            .collect()
    }

    /// The alerts that ever fired as critical or warning, told or not.
    pub fn fired(&self) -> BTreeSet<String> {
        let expression = "count by (alertname) (count_over_time(ALERTS{alertstate='firing',severity=~'critical|warning'}[1h]))";
        let data = self.prometheus.data("query", &[("query", expression)]).expect("an answer");
        let series = data["result"].as_array().expect("series").iter();
        series
            .filter_map(|series| series["metric"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }

    /// The alerts that Alertmanager has and tells nobody, since another one stands above them.
    pub fn inhibited(&self) -> BTreeSet<String> {
        let Some(text) = fetch(
            self.alertmanager,
            "/api/v2/alerts",
            &[("active", "true"), ("inhibited", "true")],
        ) else {
            return BTreeSet::new();
        };
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let alerts = document.as_array().expect("alerts").iter();
        let inhibited = alerts
            .filter(|alert| !alert["status"]["inhibitedBy"].as_array().is_none_or(Vec::is_empty));
        inhibited
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }

    /// Problems that Prometheus met when it evaluated the rules.
    pub fn rule_problems(&self) -> Vec<String> {
        let data = self.prometheus.data("rules", &[]).expect("rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        let problem = |rule: &Value| {
            let error = rule["lastError"].as_str().filter(|error| !error.is_empty())?;
            Some(format!("{}: {error}", rule["name"]))
        };
        rules.filter_map(problem).collect()
    }
}

/// A file or folder of `alerts/`.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts").join(name)
}

// === What is shipped, faster ===

/// The rules with all their durations divided, and the one count of seconds.
fn scaled_rules(file: &str, scale: u32) -> String {
    let text = std::fs::read_to_string(shipped(file)).expect(file);
    let mut rules: Yaml = serde_yaml_ng::from_str(&text).expect(file);
    for group in rules["groups"].as_sequence_mut().expect("groups") {
        for rule in group["rules"].as_sequence_mut().expect("rules") {
            for key in ["for", "keep_firing_for"] {
                if let Some(duration) =
                    rule.get(key).and_then(Yaml::as_str).map(|duration| scaled(duration, scale))
                {
                    rule[key] = duration.into();
                }
            }
            let expression =
                scaled_expression(rule["expr"].as_str().expect("an expression"), scale);
            rule["expr"] = expression.into();
        }
    }
    serde_yaml_ng::to_string(&rules).expect("YAML")
}

/// An expression with the durations of its ranges, offsets and steps divided.
fn scaled_expression(expression: &str, scale: u32) -> String {
    let mut scaled_text = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find(['[', 'o']) {
        let opens = if rest[start..].starts_with('[') {
            Some(start + 1)
        } else {
            rest[start..].starts_with("offset ").then_some(start + 7)
        };
        let Some(from) = opens else {
            scaled_text += &rest[..=start];
            rest = &rest[start + 1..];
            continue;
        };
        let length = rest[from..]
            .find(|character: char| !character.is_ascii_alphanumeric())
            .unwrap_or(rest.len() - from);
        let (before, after) = rest.split_at(from);
        let (duration, after) = after.split_at(length);
        scaled_text += before;
        scaled_text += &if duration.starts_with(|first: char| first.is_ascii_digit()) {
            scaled(duration, scale)
        } else {
            duration.to_owned()
        };
        // The step of a subquery.
        if let Some(step) = after.strip_prefix(':') {
            let length = step.find(']').expect("the end of a range");
            scaled_text += ":";
            scaled_text += &if length > 0 { scaled(&step[..length], scale) } else { String::new() };
            rest = &step[length..];
        } else {
            rest = after;
        }
    }
    scaled_text + rest
}

fn scaled(duration: &str, scale: u32) -> String {
    let whole =
        humantime::parse_duration(duration).unwrap_or_else(|error| panic!("{duration}: {error}"));
    format!("{}ms", (whole / scale).as_millis().max(1000))
}

/// The configuration of Alertmanager with all its durations divided, and our own receiver in place of those that it has.
fn alertmanager_configuration(receiver: u16, templates: &Path, scale: u32) -> String {
    let text = std::fs::read_to_string(shipped("alertmanager.yaml")).expect("the configuration");
    let mut configuration: Yaml = serde_yaml_ng::from_str(&text).expect("YAML");
    scale_route(&mut configuration["route"], scale);
    for receiving in configuration["receivers"].as_sequence_mut().expect("receivers") {
        let name = receiving["name"].as_str().expect("a name").to_owned();
        let silent = receiving.as_mapping().expect("a receiver").len() == 1;
        *receiving = serde_yaml_ng::from_str(&format!("{{ name: '{name}' }}")).expect("YAML");
        if !silent {
            let hook =
                format!("[ {{ url: 'http://127.0.0.1:{receiver}/{name}', send_resolved: true }} ]");
            receiving["webhook_configs"] = serde_yaml_ng::from_str(&hook).expect("YAML");
        }
    }
    configuration["templates"] =
        serde_yaml_ng::from_str(&format!("[ '{}/*.tmpl' ]", templates.display())).expect("YAML");
    serde_yaml_ng::to_string(&configuration).expect("YAML")
}

fn scale_route(route: &mut Yaml, scale: u32) {
    for key in ["group_wait", "group_interval", "repeat_interval"] {
        if let Some(duration) =
            route.get(key).and_then(Yaml::as_str).map(|duration| scaled(duration, scale))
        {
            route[key] = duration.into();
        }
    }
    if let Some(routes) = route.get_mut("routes").and_then(Yaml::as_sequence_mut) {
        for route in routes {
            scale_route(route, scale);
        }
    }
}

// === The receiver ===

/// Takes notifications, and gives the port at which it does.
fn receive(arrived: &Arc<Mutex<Vec<Notified>>>, clock: &Arc<Stopwatch>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a listener for tokio");
    let (arrived, clock) = (Arc::clone(arrived), Arc::clone(clock));
    let take = move |Json(notification): Json<Value>| {
        let alerts = notification["alerts"].as_array().expect("alerts").iter();
        let notified = alerts.map(|alert| Notified::of(&notification, alert, clock.elapsed()));
        arrived.lock().expect("notifications").extend(notified);
        std::future::ready(())
    };
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, Router::new().route("/{receiver}", post(take))).await
        })
    });
    port
}

impl Notified {
    fn of(notification: &Value, alert: &Value, at: Duration) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = &alert["labels"];
        Notified {
            receiver: text(&notification["receiver"]),
            alert: text(&labels["alertname"]),
            severity: text(&labels["severity"]),
            node: labels["node"].as_str().map(str::to_owned),
            resolved: alert["status"] == "resolved",
            at,
            summary: text(&alert["annotations"]["summary"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided_wherever_they_stand() {
        let check = |whole: &str, divided: &str| assert_eq!(scaled_expression(whole, 10), divided);
        check("increase(a_total[5m]) > 0", "increase(a_total[30000ms]) > 0");
        check("max_over_time((a > 0)[1h:1m])", "max_over_time((a > 0)[360000ms:6000ms])");
        check(
            "a offset 30s unless on (node) b[30s:]",
            "a offset 3000ms unless on (node) b[3000ms:]",
        );
        check("or on (foo) a[2s]", "or on (foo) a[1000ms]");
    }
}
