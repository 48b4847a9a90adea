//! Conversion of OpenMetrics to text format 0.0.4. Only the HELP and TYPE lines differ.

use std::fmt::{self, Write};

/// Writer that converts OpenMetrics to text format 0.0.4. There a family has the name of its
/// samples, with the suffix, and the types info and unknown do not exist.
pub(crate) struct PlainTextWriter<'a> {
    writer: &'a mut dyn Write,
    at_line_start: bool,
    /// Beginning of a comment line that is not complete yet.
    comment: Option<String>,
    /// HELP line of a family. It is written together with the TYPE line.
    help: String,
}

impl<'a> PlainTextWriter<'a> {
    pub(crate) fn new(writer: &'a mut dyn Write) -> Self {
        PlainTextWriter { writer, at_line_start: true, comment: None, help: String::new() }
    }

    fn write_comment(&mut self, line: &str) -> fmt::Result {
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

impl Write for PlainTextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.at_line_start && piece.starts_with('#') {
                self.comment = Some(String::new());
            }
            self.at_line_start = piece.ends_with('\n');
            match &mut self.comment {
                None => self.writer.write_str(piece)?,
                Some(comment) => comment.push_str(piece),
            }
            if self.at_line_start
                && let Some(comment) = self.comment.take()
            {
                self.write_comment(comment.trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comment_lines_change() {
        let mut out = String::new();
        let mut text = PlainTextWriter::new(&mut out);
        let open_metrics = concat!(
            "# HELP a A thing.\n",
            "# TYPE a counter\n",
            "a_total{x=\"# TYPE a counter\"} 1\n",
            "# HELP b B.\n",
            "# TYPE b info\n",
            "b_info{y=\"1\"} 1\n",
            "# EOF\n",
        );
        for byte in open_metrics.split_inclusive(|_| true) {
            text.write_str(byte).expect("to a string");
        }
        assert_eq!(
            out,
            concat!(
                "# HELP a_total A thing.\n",
                "# TYPE a_total counter\n",
                "a_total{x=\"# TYPE a counter\"} 1\n",
                "# HELP b_info B.\n",
                "# TYPE b_info gauge\n",
                "b_info{y=\"1\"} 1\n",
            )
        );
    }
}
