//! Where a key stands in a file: the line that an error names.

use std::ops::Range;

use toml_edit::{ImDocument, Item, TableLike, Value};

/// The line of the key at the end of a path, counted from 1. Where the path goes on beyond what is written, the last key that is.
pub(crate) fn line(text: &str, path: &[String]) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut place = None;
    let mut here = Here::Item(document.as_item());
    for step in path {
        let Some((span, next)) = here.step(step) else { break };
        place = span.or(place);
        here = next;
    }
    Some(line_at(text, place?.start))
}

/// What is wrong with a text that is no TOML: line and message. Not the text itself, which may hold a secret.
pub(crate) fn syntax(text: &str) -> Option<(usize, String)> {
    let error = ImDocument::parse(text).err()?;
    let start = error.span().map_or(0, |span| span.start);
    Some((line_at(text, start), error.message().lines().collect::<Vec<_>>().join(", ")))
}

fn line_at(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

/// Something with keys or positions in it.
enum Here<'a> {
    Item(&'a Item),
    Table(&'a dyn TableLike),
    Value(&'a Value),
}

impl<'a> Here<'a> {
    fn step(&self, step: &str) -> Option<(Option<Range<usize>>, Here<'a>)> {
        if let Ok(position) = step.parse::<usize>() {
            return self.element(position);
        }
        let table = match self {
            Here::Item(item) => item.as_table_like()?,
            Here::Table(table) => *table,
            Here::Value(value) => value.as_inline_table()? as &dyn TableLike,
        };
        let (key, item) = table.get_key_value(step)?;
        Some((key.span().or_else(|| item.span()), Here::Item(item)))
    }

    fn element(&self, position: usize) -> Option<(Option<Range<usize>>, Here<'a>)> {
        let array = match self {
            Here::Item(Item::ArrayOfTables(tables)) => {
                let table = tables.get(position)?;
                return Some((table.span(), Here::Table(table)));
            }
            Here::Item(item) => item.as_array()?,
            Here::Value(value) => value.as_array()?,
            Here::Table(_) => return None,
        };
        let value = array.get(position)?;
        Some((value.span(), Here::Value(value)))
    }
}
