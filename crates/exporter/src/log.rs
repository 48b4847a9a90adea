//! Structured log lines on standard error: logfmt or JSON, with the keys `ts`, `level` and `msg`.

use std::fmt;

use config::{LogFormat, LogLevel};
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Crates whose log lines are written. Libraries are left out, because they may log secrets.
const TARGETS: [&str; 3] = ["config", "exporter", "poller"];

/// Starts logging.
pub(crate) fn init(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let logfmt = || tracing_logfmt::builder().with_target(false).layer().map_event_format(Logfmt);
    let events = match format {
        LogFormat::Logfmt => logfmt().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => layer().event_format(Json).with_writer(std::io::stderr).boxed(),
    };
    let targets = TARGETS.map(|target| (target, level));
    tracing_subscriber::registry()
        .with(events.with_filter(Targets::new().with_targets(targets)))
        .init();
}

/// Formatter of `key=value` lines.
struct Logfmt(tracing_logfmt::EventsFormatter);

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // The library has no option for this key. Only `ts` and `level` precede the message, so
        // the first match is the key and never a part of a value.
        writer.write_str(&line.replacen(" message=", " msg=", 1))
    }
}

/// Formatter of one JSON object per line.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = object(&time, &level, &fields).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

/// Encodes one log line as a JSON object that begins with `ts`, `level` and `msg`.
fn object(time: &str, level: &str, fields: &Fields) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("ts", time)?;
    map.serialize_entry("level", level)?;
    map.serialize_entry("msg", &fields.message)?;
    for (name, value) in &fields.others {
        map.serialize_entry(name, value)?;
    }
    map.end()?;
    Ok(line)
}

/// Message and fields of one log line.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_begin_with_time_level_and_message() {
        let fields = Fields {
            message: "node \"a\"\nis down".to_owned(),
            others: vec![("node", "a\u{1b}".into()), ("seconds", 1.5.into())],
        };
        let line = object("2026-01-02T03:04:05Z", "warn", &fields).expect("a line");
        assert_eq!(
            String::from_utf8(line).expect("text"),
            concat!(
                r#"{"ts":"2026-01-02T03:04:05Z","level":"warn","msg":"node \"a\"\nis down","#,
                r#""node":"a\u001b","seconds":1.5}"#
            )
        );
    }
}
