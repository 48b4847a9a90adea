//! The reference of every metric, from the tables.

use std::fmt::Write;

use crate::{Entry, Legacy, entries, themes};

/// The reference of every metric, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nGenerated from the tables in `crates/catalog/src/tables`; `rolecall metrics` prints it. Every series has the labels that are \
         configured for its\ndeployment too. An unknown is an absent sample: never 0, -1 or NaN. The column redis_exporter says under which name that \
         exporter has the\nmetric; `/scrape` shows it under that name.\n",
    );
    for theme in themes() {
        let rows = entries().filter(|(of, ..)| *of == theme);
        let written = write!(
            text,
            "\n## {theme}\n\n| name | type | labels | source | redis_exporter | help |\n| --- | --- | --- | --- | --- | --- |\n"
        )
        .and_then(|()| rows.into_iter().try_for_each(|(_, subject, entry)| row(&mut text, subject, entry)));
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text
}

fn row(text: &mut String, subject: &[&str], entry: &Entry) -> std::fmt::Result {
    let labels: Vec<_> = subject.iter().chain(entry.labels).copied().collect();
    let legacy = match entry.legacy {
        Legacy::Same => "same",
        Legacy::Gauge(name) | Legacy::Counter(name) | Legacy::Own(name) => name,
        Legacy::No => "",
    };
    let source = entry.source.to_string().replace('|', "\\|");
    writeln!(
        text,
        "| `{}` | {} | {} | {source} | {legacy} | {} |",
        entry.name,
        entry.kind().label(),
        labels.join(", "),
        entry.help
    )
}
