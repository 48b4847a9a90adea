//! Alert pipeline from the metric to the notification, on real programs: Prometheus with the
//! shipped rules, Alertmanager with the shipped configuration, and a webhook receiver.
//!
//! The durations of both are divided, usually by [`TIME_DIVISOR`], so that tests do not wait for
//! minutes.

use std::collections::{BTreeMap, BTreeSet};
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

/// Default divisor for the durations in the rules and in the configuration of Alertmanager.
/// Rolecall's own durations (`down_after`, interval between rounds) are not divided.
pub const TIME_DIVISOR: u32 = 10;

/// Prometheus, Alertmanager, and the notifications that its receivers got.
pub struct AlertPipeline {
    alertmanager_port: u16,
    _alertmanager: Process,
    prometheus: Prometheus,
    notifications: Arc<Mutex<Vec<Notification>>>,
    clock: Arc<Stopwatch>,
}

/// Alert in a notification.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The receiver that got it.
    pub receiver: String,
    /// The name of the alert.
    pub alert: String,
    /// The label `severity`.
    pub severity: String,
    /// The label `node`, if the alert has one.
    pub node: Option<String>,
    /// True in the notification that the alert is resolved.
    pub resolved: bool,
    /// Time from the start of the pipeline to the notification.
    pub at: Duration,
    /// The annotation `summary`.
    pub summary: String,
}

impl AlertPipeline {
    /// Starts Prometheus and Alertmanager, with durations divided by [`TIME_DIVISOR`]. Prometheus
    /// scrapes Rolecall on these ports of 127.0.0.1. Waits until the first alert, `Watchdog`, is
    /// notified.
    pub fn start(rolecall: &[u16]) -> Self {
        Self::start_with_divisor(rolecall, TIME_DIVISOR)
    }

    /// Does the same as [`Self::start`], with another divisor.
    pub fn start_with_divisor(rolecall: &[u16], divisor: u32) -> Self {
        let addresses: Vec<_> = rolecall.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Self::start_at(&addresses, divisor)
    }

    /// Does the same for Rolecall at these addresses.
    pub fn start_at(rolecall: &[String], divisor: u32) -> Self {
        let directory = tempfile::tempdir().expect("cannot create a directory");
        let (notifications, clock) =
            (Arc::<Mutex<Vec<Notification>>>::default(), Arc::new(Stopwatch::start()));
        let receiver_port = receive(&notifications, &clock);
        let at = |name: &str| directory.path().join(name);

        std::fs::write(
            at("alertmanager.yaml"),
            alertmanager_configuration(receiver_port, &at("templates"), divisor),
        )
        .expect("cannot write a file");
        std::fs::create_dir(at("templates")).expect("cannot create a directory");
        for template in std::fs::read_dir(shipped("templates")).expect("cannot list the templates")
        {
            let template = template.expect("cannot list the templates");
            std::fs::copy(template.path(), at("templates").join(template.file_name()))
                .expect("cannot copy the template");
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

        write_rules(directory.path(), &|duration| duration / divisor);
        let configuration = format!(
            "{}alerting: {{ alertmanagers: [ {{ static_configs: [ {{ \
             targets: ['127.0.0.1:{alertmanager}'] }} ] }} ] }}\n",
            prometheus_configuration(rolecall)
        );
        // Alertmanager resolves an alert that Prometheus does not send again within four times this
        // delay. A busy machine may need that long.
        let prometheus =
            Prometheus::configured(directory, &configuration, &["--rules.alert.resend-delay=5s"]);
        let pipeline = AlertPipeline {
            alertmanager_port: alertmanager,
            _alertmanager: notifier,
            prometheus,
            notifications,
            clock,
        };
        // `Watchdog` always fires. Its notification proves that the whole pipeline works.
        eventually(Duration::from_secs(120), "Watchdog is notified", || {
            pipeline
                .notifications()
                .iter()
                .any(|notification| notification.alert == "Watchdog")
                .then_some(())
        });
        pipeline
    }

    /// Returns the time since the start of the pipeline.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns all notified alerts so far, in the order of arrival.
    pub fn notifications(&self) -> Vec<Notification> {
        self.notifications.lock().expect("a thread panicked").clone()
    }

    /// Returns the names and severities of the alerts that were notified as firing at or after
    /// `since`, without `Watchdog`.
    pub fn notified_since(&self, since: Duration) -> BTreeSet<(String, String)> {
        let is_new = |notification: &Notification| {
            !notification.resolved && notification.at >= since && notification.alert != "Watchdog"
        };
        self.notifications()
            .into_iter()
            .filter(is_new)
            .map(|notification| (notification.alert, notification.severity))
            .collect()
    }

    /// Waits until an alert is notified as firing at or after `since`, and returns the time of that
    /// notification.
    #[track_caller]
    pub fn until_notified(
        &self,
        limit: Duration,
        since: Duration,
        alert: &str,
        severity: &str,
    ) -> Duration {
        let matches = |notification: &&Notification| {
            notification.alert == alert
                && notification.severity == severity
                && !notification.resolved
                && notification.at >= since
        };
        let notified_at =
            || self.notifications().iter().find(matches).map(|notification| notification.at);
        eventually(
            limit,
            &format!("{alert} is notified as {severity}; firing: {:?}", self.firing()),
            notified_at,
        )
        .0
    }

    /// Returns the names and severities of the alerts that were notified at or after `since` and
    /// are not resolved, without `Watchdog`.
    pub fn unresolved_since(&self, since: Duration) -> BTreeSet<(String, String)> {
        let mut unresolved = BTreeSet::new();
        for notification in self
            .notifications()
            .into_iter()
            .filter(|notification| notification.at >= since && notification.alert != "Watchdog")
        {
            let key = (notification.alert, notification.severity, notification.node);
            if notification.resolved {
                unresolved.remove(&key)
            } else {
                unresolved.insert(key)
            };
        }
        unresolved.into_iter().map(|(alert, severity, _)| (alert, severity)).collect()
    }

    /// Waits until all alerts that were notified at or after `since` are resolved, and returns the
    /// time at which that was seen.
    #[track_caller]
    pub fn until_resolved(&self, limit: Duration, since: Duration) -> Duration {
        let are_resolved = || self.unresolved_since(since).is_empty().then(|| self.now());
        eventually(
            limit,
            &format!("all alerts are resolved; unresolved: {:?}", self.unresolved_since(since)),
            are_resolved,
        )
        .0
    }

    /// Returns the names and severities of the alerts that fire in Prometheus now, without
    /// `Watchdog`.
    pub fn firing(&self) -> BTreeSet<(String, String)> {
        let labels = self.firing_labels().unwrap_or_default();
        let text = |labels: &BTreeMap<String, String>, name: &str| {
            labels.get(name).cloned().unwrap_or_default()
        };
        labels
            .iter()
            .map(|labels| (text(labels, "alertname"), text(labels, "severity")))
            .filter(|(alert, _)| alert != "Watchdog")
            .collect()
    }

    /// Returns the labels of the alerts that fire in Prometheus now; `None` without a response.
    pub fn firing_labels(&self) -> Option<Vec<BTreeMap<String, String>>> {
        self.prometheus.firing_labels()
    }

    /// Returns the names of the alerts that fired as critical or warning within the last hour,
    /// notified or not.
    pub fn fired(&self) -> BTreeSet<String> {
        let expression = "count by (alertname) (count_over_time(\
             ALERTS{alertstate='firing',severity=~'critical|warning'}[1h]))";
        let data = self.prometheus.data("query", &[("query", expression)]).expect("no response");
        let series = data["result"].as_array().expect("`result` is missing").iter();
        series
            .filter_map(|series| series["metric"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the series of the alerts that fired as critical or warning within the last hour,
    /// each with the number of its samples.
    pub fn fired_series(&self) -> Value {
        let expression =
            "count_over_time(ALERTS{alertstate='firing',severity=~'critical|warning'}[1h])";
        self.prometheus.data("query", &[("query", expression)]).expect("no response")
    }

    /// Returns the names of the alerts that Alertmanager inhibits now.
    pub fn inhibited(&self) -> BTreeSet<String> {
        let Some(text) = fetch(
            self.alertmanager_port,
            "/api/v2/alerts",
            &[("active", "true"), ("inhibited", "true")],
        ) else {
            return BTreeSet::new();
        };
        let document: Value = serde_json::from_str(&text).expect("invalid JSON");
        let alerts = document.as_array().expect("the response is not a list").iter();
        let inhibited = alerts
            .filter(|alert| !alert["status"]["inhibitedBy"].as_array().is_none_or(Vec::is_empty));
        inhibited
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the errors from the last evaluation of the rules, as `"rule": error`.
    pub fn rule_errors(&self) -> Vec<String> {
        let data = self.prometheus.data("rules", &[]).expect("no response");
        let groups = data["groups"].as_array().expect("`groups` is missing").iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().expect("`rules` is missing"));
        let failed = |rule: &Value| {
            let error = rule["lastError"].as_str().filter(|error| !error.is_empty())?;
            Some(format!("{}: {error}", rule["name"]))
        };
        rules.filter_map(failed).collect()
    }
}

impl Prometheus {
    /// Starts Prometheus with the shipped rules, in which durations above a limit are the limit. It
    /// scrapes Rolecall at an address every second. Alerts fire, but nobody is notified.
    pub fn with_rules(rolecall: &str, limit: Duration) -> Self {
        let directory = tempfile::tempdir().expect("cannot create a directory");
        write_rules(directory.path(), &|duration| duration.min(limit));
        let configuration = prometheus_configuration(&[rolecall.to_owned()]);
        Self::configured(directory, &configuration, &[])
    }

    /// Returns the labels of the alerts that fire now; `None` without a response.
    pub fn firing_labels(&self) -> Option<Vec<BTreeMap<String, String>>> {
        let data = self.data("alerts", &[])?;
        let alerts = data["alerts"].as_array()?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let labels = |alert: &Value| serde_json::from_value(alert["labels"].clone()).ok();
        firing.map(labels).collect()
    }
}

/// Returns a configuration of Prometheus with the shipped rules, which scrapes Rolecall at these
/// addresses.
fn prometheus_configuration(rolecall: &[String]) -> String {
    let targets: Vec<_> = rolecall.iter().map(|address| format!("'{address}'")).collect();
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
         rule_files: [redis.rules.yaml, rolecall.rules.yaml]\n\
         scrape_configs: [ {{ job_name: rolecall, \
         static_configs: [ {{ targets: [{}] }} ] }} ]\n",
        targets.join(", ")
    )
}

/// Writes the shipped rule files with changed durations to a directory.
fn write_rules(directory: &Path, change: Change) {
    for rules in ["redis.rules.yaml", "rolecall.rules.yaml"] {
        std::fs::write(directory.join(rules), changed_rules(rules, change))
            .expect("cannot write a file");
    }
}

/// Returns the path of a file or directory in `alerts/`.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts").join(name)
}

// === Shipped rules and configuration with changed durations ===

/// Function that returns the duration to use instead of a shipped one.
type Change<'a> = &'a dyn Fn(Duration) -> Duration;

/// Returns a shipped rule file with the durations of all rules changed.
fn changed_rules(file: &str, change: Change) -> String {
    let text = std::fs::read_to_string(shipped(file)).expect(file);
    let mut rules: Yaml = serde_yaml_ng::from_str(&text).expect(file);
    for group in rules["groups"].as_sequence_mut().expect("`groups` is missing") {
        for rule in group["rules"].as_sequence_mut().expect("`rules` is missing") {
            for key in ["for", "keep_firing_for"] {
                if let Some(duration) =
                    rule.get(key).and_then(Yaml::as_str).map(|duration| changed(duration, change))
                {
                    rule[key] = duration.into();
                }
            }
            let expression =
                changed_expression(rule["expr"].as_str().expect("`expr` is missing"), change);
            rule["expr"] = expression.into();
        }
    }
    serde_yaml_ng::to_string(&rules).expect("invalid YAML")
}

/// Returns an expression with the durations of its ranges, offsets and subquery steps changed.
fn changed_expression(expression: &str, change: Change) -> String {
    let mut result = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find(['[', 'o']) {
        let duration_start = if rest[start..].starts_with('[') {
            Some(start + 1)
        } else {
            rest[start..].starts_with("offset ").then_some(start + 7)
        };
        let Some(from) = duration_start else {
            result += &rest[..=start];
            rest = &rest[start + 1..];
            continue;
        };
        let length = rest[from..]
            .find(|character: char| !character.is_ascii_alphanumeric())
            .unwrap_or(rest.len() - from);
        let (before, after) = rest.split_at(from);
        let (duration, after) = after.split_at(length);
        result += before;
        result += &if duration.starts_with(|first: char| first.is_ascii_digit()) {
            changed(duration, change)
        } else {
            duration.to_owned()
        };
        // A subquery: change its step as well.
        if let Some(step) = after.strip_prefix(':') {
            let length = step.find(']').expect("unterminated range");
            result += ":";
            result += &if length > 0 { changed(&step[..length], change) } else { String::new() };
            rest = &step[length..];
        } else {
            rest = after;
        }
    }
    result + rest
}

/// Changes a duration, but not below 1 s, the evaluation interval of Prometheus.
fn changed(duration: &str, change: Change) -> String {
    let shipped =
        humantime::parse_duration(duration).unwrap_or_else(|error| panic!("{duration}: {error}"));
    format!("{}ms", change(shipped).as_millis().max(1000))
}

/// Returns the shipped configuration of Alertmanager with all durations divided. Each receiver that
/// sends anything gets a webhook on this port instead.
fn alertmanager_configuration(receiver_port: u16, templates: &Path, divisor: u32) -> String {
    let text = std::fs::read_to_string(shipped("alertmanager.yaml"))
        .expect("cannot read alertmanager.yaml");
    let mut configuration: Yaml = serde_yaml_ng::from_str(&text).expect("invalid YAML");
    change_route(&mut configuration["route"], &|duration| duration / divisor);
    for receiver_config in
        configuration["receivers"].as_sequence_mut().expect("`receivers` is missing")
    {
        let name = receiver_config["name"].as_str().expect("the name is missing").to_owned();
        let sends_nothing =
            receiver_config.as_mapping().expect("the receiver is not a mapping").len() == 1;
        *receiver_config =
            serde_yaml_ng::from_str(&format!("{{ name: '{name}' }}")).expect("invalid YAML");
        if !sends_nothing {
            let webhook = format!(
                "[ {{ url: 'http://127.0.0.1:{receiver_port}/{name}', send_resolved: true }} ]"
            );
            receiver_config["webhook_configs"] =
                serde_yaml_ng::from_str(&webhook).expect("invalid YAML");
        }
    }
    configuration["templates"] =
        serde_yaml_ng::from_str(&format!("[ '{}/*.tmpl' ]", templates.display()))
            .expect("invalid YAML");
    serde_yaml_ng::to_string(&configuration).expect("invalid YAML")
}

fn change_route(route: &mut Yaml, change: Change) {
    for key in ["group_wait", "group_interval", "repeat_interval"] {
        if let Some(duration) =
            route.get(key).and_then(Yaml::as_str).map(|duration| changed(duration, change))
        {
            route[key] = duration.into();
        }
    }
    if let Some(routes) = route.get_mut("routes").and_then(Yaml::as_sequence_mut) {
        for route in routes {
            change_route(route, change);
        }
    }
}

// === Webhook receiver ===

/// Starts the webhook receiver on a thread, and returns its port.
fn receive(notifications: &Arc<Mutex<Vec<Notification>>>, clock: &Arc<Stopwatch>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("cannot listen");
    let port = listener.local_addr().expect("no local address").port();
    listener.set_nonblocking(true).expect("cannot make the listener non-blocking");
    let (notifications, clock) = (Arc::clone(notifications), Arc::clone(clock));
    let handle = move |Json(notification): Json<Value>| {
        let alerts = notification["alerts"].as_array().expect("`alerts` is missing").iter();
        let received = alerts.map(|alert| Notification::of(&notification, alert, clock.elapsed()));
        notifications.lock().expect("a thread panicked").extend(received);
        std::future::ready(())
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("cannot start a runtime");
        runtime.block_on(async move {
            let listener =
                tokio::net::TcpListener::from_std(listener).expect("cannot use the listener");
            axum::serve(listener, Router::new().route("/{receiver}", post(handle))).await
        })
    });
    port
}

impl Notification {
    fn of(notification: &Value, alert: &Value, at: Duration) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = &alert["labels"];
        Notification {
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
    fn changes_durations_of_ranges_offsets_and_steps() {
        let check = |shipped: &str, expected: &str| {
            assert_eq!(changed_expression(shipped, &|duration| duration / 10), expected);
        };
        check("increase(a_total[5m]) > 0", "increase(a_total[30000ms]) > 0");
        check("max_over_time((a > 0)[1h:1m])", "max_over_time((a > 0)[360000ms:6000ms])");
        check(
            "a offset 30s unless on (node) b[30s:]",
            "a offset 3000ms unless on (node) b[3000ms:]",
        );
        check("or on (foo) a[2s]", "or on (foo) a[1000ms]");
    }
}
