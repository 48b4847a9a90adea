//! Negotiation of the exposition format.

/// Exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

impl Format {
    /// Returns the format for an `Accept` header: OpenMetrics only if the header names its version
    /// 1.0.0, or no version of it, with a quality that is not lower than that of plain text. A
    /// parameter `escaping` changes nothing, because all names consist of ASCII characters.
    pub fn negotiate(accept: &str) -> Self {
        let ranges: Vec<_> = accept.split(',').filter_map(MediaRange::parse).collect();
        let quality = |media: &str, version: &str| {
            let matches = |range: &&MediaRange<'_>| {
                range.media.eq_ignore_ascii_case(media)
                    && range.version.is_none_or(|named| named == version)
            };
            ranges.iter().filter(matches).map(|range| range.quality).reduce(f64::max)
        };
        let open_metrics = quality("application/openmetrics-text", "1.0.0").unwrap_or(0.0);
        // A range counts only without a more specific one.
        let text = ["text/plain", "text/*", "*/*"].iter().find_map(|media| quality(media, "0.0.4"));
        if open_metrics > 0.0 && open_metrics >= text.unwrap_or(0.0) {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// Returns the value of the header `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Media range of an `Accept` header.
struct MediaRange<'a> {
    /// Type and subtype.
    media: &'a str,
    /// Parameter `version`.
    version: Option<&'a str>,
    /// Parameter `q`, from 0 to 1.
    quality: f64,
}

impl<'a> MediaRange<'a> {
    /// Parses a range. Returns `None` if its quality is invalid.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next()?;
        let mut range = MediaRange { media, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value),
                "q" => range.quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
                _ => {}
            }
        }
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, format: Format) {
        assert_eq!(Format::negotiate(accept), format, "{accept}");
    }

    #[test]
    fn open_metrics_only_if_the_header_names_it() {
        check("", Format::Text);
        check("*/*", Format::Text);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text);
        // Prometheus 2.42 and 3.
        check(
            "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
            Format::OpenMetrics,
        );
        check("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5", Format::Text);
        check("application/openmetrics-text;q=0", Format::Text);
        check("application/openmetrics-text;q=2, text/plain;q=0.1", Format::Text);
        check(
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.5, */*;q=0.1",
            Format::OpenMetrics,
        );
        // Prometheus 3.
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::OpenMetrics,
        );
    }

    #[test]
    fn other_versions_are_not_acceptable() {
        check("application/openmetrics-text;version=2.0.0;q=0.9,text/plain;q=0.1", Format::Text);
        check(
            "application/openmetrics-text;version=2.0.0,\
             application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
            Format::OpenMetrics,
        );
        // Prometheus 2.5 to 2.33.
        check(
            "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Text,
        );
        // Plain text in another version does not replace that of version 0.0.4.
        let text = "text/plain;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.3";
        check(&format!("application/openmetrics-text;q=0.5,{text}"), Format::OpenMetrics);
        check("application/openmetrics-text;q=0.5,text/*;q=0.6,*/*;q=0.1", Format::Text);
        check("application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*;q=0.9", Format::OpenMetrics);
    }
}
