//! OpenMetrics to text format 0.0.4. The samples are the same; only the lines about a family differ.

use std::fmt::{self, Write};

/// Passes OpenMetrics on as text format 0.0.4: a family has the name of its samples there, and its type is one that it knows.
pub(crate) struct Text<'a> {
    writer: &'a mut dyn Write,
    at_line_start: bool,
    /// The line about a family that is being written.
    about: Option<String>,
    /// The line with the help of a family, which waits for the line with its type.
    help: String,
}

impl<'a> Text<'a> {
    pub(crate) fn new(writer: &'a mut dyn Write) -> Self {
        Text { writer, at_line_start: true, about: None, help: String::new() }
    }

    fn about(&mut self, line: &str) -> fmt::Result {
        if line.starts_with("# HELP ") {
            line.clone_into(&mut self.help);
            return Ok(());
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            return Ok(());
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "unknown" => ("", "counter"),
            other => ("", other),
        };
        let help = self
            .help
            .strip_prefix("# HELP ")
            .and_then(|help| help.strip_prefix(name))
            .unwrap_or_default();
        writeln!(self.writer, "# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}")
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.at_line_start && piece.starts_with('#') {
                self.about = Some(String::new());
            }
            self.at_line_start = piece.ends_with('\n');
            match &mut self.about {
                None => self.writer.write_str(piece)?,
                Some(about) => about.push_str(piece),
            }
            if self.at_line_start
                && let Some(about) = self.about.take()
            {
                self.about(about.trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_renamed_and_samples_are_not() {
        let mut out = String::new();
        let mut text = Text::new(&mut out);
        let open_metrics = "# HELP a A thing.\n# TYPE a counter\na_total{x=\"# TYPE a counter\"} 1\n# HELP b B.\n# TYPE b info\nb_info{y=\"1\"} 1\n# EOF\n";
        for byte in open_metrics.split_inclusive(|_| true) {
            text.write_str(byte).expect("to a string");
        }
        assert_eq!(
            out,
            "# HELP a_total A thing.\n# TYPE a_total counter\na_total{x=\"# TYPE a counter\"} 1\n# HELP b_info B.\n# TYPE b_info gauge\nb_info{y=\"1\"} 1\n"
        );
    }
}
