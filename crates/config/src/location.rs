//! Line numbers of keys in a TOML file.

use std::ops::Range;

use toml_edit::{ImDocument, Item, TableLike, Value};

/// The first syntax error of a file.
pub(crate) struct SyntaxError {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Does not quote the file, which may contain a secret.
    pub(crate) message: String,
}

/// Returns the line, counted from 1, of the key at the end of a path. If the file lacks that key,
/// returns the line of the last key of the path that it has.
pub(crate) fn line(text: &str, path: &[String]) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut start = None;
    let mut node = TomlNode::Item(document.as_item());
    for step in path {
        let Some(child) = node.child(step) else { break };
        start = child.span.map(|span| span.start).or(start);
        node = child.node;
    }
    Some(line_at(text, start?))
}

/// Returns the syntax error of a text that is not TOML.
pub(crate) fn syntax_error(text: &str) -> Option<SyntaxError> {
    let error = ImDocument::parse(text).err()?;
    let start = error.span().map_or(0, |span| span.start);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Some(SyntaxError { line: line_at(text, start), message })
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A part of a document that has keys or list positions.
enum TomlNode<'a> {
    Item(&'a Item),
    Table(&'a dyn TableLike),
    Value(&'a Value),
}

/// The node under a key or list position, and its byte range in the text.
struct Child<'a> {
    span: Option<Range<usize>>,
    node: TomlNode<'a>,
}

impl<'a> TomlNode<'a> {
    fn child(&self, step: &str) -> Option<Child<'a>> {
        if let Ok(position) = step.parse::<usize>() {
            return self.element(position);
        }
        let table = match self {
            TomlNode::Item(item) => item.as_table_like()?,
            TomlNode::Table(table) => *table,
            TomlNode::Value(value) => value.as_inline_table()? as &dyn TableLike,
        };
        let (key, item) = table.get_key_value(step)?;
        Some(Child { span: key.span().or_else(|| item.span()), node: TomlNode::Item(item) })
    }

    fn element(&self, position: usize) -> Option<Child<'a>> {
        let array = match self {
            TomlNode::Item(Item::ArrayOfTables(tables)) => {
                let table = tables.get(position)?;
                return Some(Child { span: table.span(), node: TomlNode::Table(table) });
            }
            TomlNode::Item(item) => item.as_array()?,
            TomlNode::Value(value) => value.as_array()?,
            TomlNode::Table(_) => return None,
        };
        let value = array.get(position)?;
        Some(Child { span: value.span(), node: TomlNode::Value(value) })
    }
}
