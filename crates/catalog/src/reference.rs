//! Reference of all metrics, generated from the tables.

use std::fmt::Write;

use crate::tables::redis_exporter_only_entries;
use crate::{Entry, RedisExporterName, entries, themes};

const INTRODUCTION: &str = "\
# Metrics

`rolecall metrics` prints this reference. It is generated from the tables in
`crates/catalog/src/tables`: change a row there, then run `UPDATE_EXPECT=1 cargo test -p catalog`.

- Each heading is a theme. `/metrics?collect[]=THEME` exposes only the metrics of this theme.
- All series of a deployment also have its configured labels (`labels`), which the column `labels`
  omits. In a cluster, the series of the theme topology also have the label `shard`.
- The column core has `yes` for the metrics of the core set: those that the rules in `alerts/` and
  the dashboards Fleet and Deployment use. `/metrics?collect[]=core` exposes only them, and so does
  `/metrics` if `metrics.set` is `core` in the configuration.
- An unknown value has no sample. It is never 0, -1 or NaN.
- The column redis_exporter has the name of the metric in redis_exporter, or `same`. `/scrape`
  exposes the metric under this name. A metric without a name in this column is not on `/scrape`.
- The last heading has the metrics that only exist under the names of redis_exporter: on `/scrape`,
  and on `/metrics` if `metrics.names` is `redis_exporter` or `both`. With `both`, a name that
  Rolecall and redis_exporter use with different labels has the labels of both, and the value of
  redis_exporter, except `redis_errors_total`.
";

const REDIS_EXPORTER_HEADING: &str = "
## redis_exporter

| name | type | labels | source | help |
| --- | --- | --- | --- | --- |
";

/// Returns the reference of all metrics, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    for theme in themes() {
        let rows = entries().filter(|(of, ..)| *of == theme);
        let written = write_heading(&mut text, theme).and_then(|()| {
            rows.into_iter()
                .try_for_each(|(_, subject, entry)| write_row(&mut text, subject, entry))
        });
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text.push_str(REDIS_EXPORTER_HEADING);
    let written =
        redis_exporter_only_entries().try_for_each(|entry| write_foreign_row(&mut text, entry));
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    text
}

fn write_foreign_row(text: &mut String, entry: &Entry) -> std::fmt::Result {
    let Some((name, kind)) = entry.on_scrape() else { return Ok(()) };
    let source = entry.source.to_string().replace('|', "\\|");
    let (kind, labels) = (kind.label(), entry.labels.join(", "));
    writeln!(text, "| `{name}` | {kind} | {labels} | {source} | {} |", entry.help)
}

fn write_heading(text: &mut String, theme: &str) -> std::fmt::Result {
    writeln!(text, "\n## {theme}\n")?;
    writeln!(text, "| name | type | labels | core | source | redis_exporter | help |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |")
}

fn write_row(text: &mut String, subject: &[&str], entry: &Entry) -> std::fmt::Result {
    let labels: Vec<_> = subject.iter().chain(entry.labels).copied().collect();
    let redis_exporter = match entry.redis_exporter {
        RedisExporterName::Same => "same",
        RedisExporterName::AsGauge(name)
        | RedisExporterName::AsCounter(name)
        | RedisExporterName::AsSummary(name)
        | RedisExporterName::SeparateRow(name) => name,
        RedisExporterName::Absent => "",
    };
    let core = if entry.is_core { "yes" } else { "" };
    let source = entry.source.to_string().replace('|', "\\|");
    writeln!(
        text,
        "| `{}` | {} | {} | {core} | {source} | {redis_exporter} | {} |",
        entry.name,
        entry.kind().label(),
        labels.join(", "),
        entry.help
    )
}
