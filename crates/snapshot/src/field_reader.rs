//! A reader of one field of many replies.

use std::sync::Arc;

use crate::Fields;
use crate::layout::Layout;

/// Reader of one field of many replies. It searches the name of the field once for each layout.
///
/// ```
/// use snapshot::{ExpectedLayout, FieldReader, Layouts};
///
/// let mut layout = ExpectedLayout::new(&Layouts::default());
/// let replies = ["used_memory:7\r\n", "used_memory:8\r\n"].map(|text| layout.parse(text));
/// let mut reader = FieldReader::new("used_memory");
/// assert_eq!(reader.get(&replies[0]), Some("7"));
/// assert_eq!(reader.get(&replies[1]), Some("8"));
/// ```
#[derive(Debug, Clone)]
pub struct FieldReader<'a> {
    name: &'a str,
    /// Layouts of the replies so far, each with the position of the field in it.
    positions: Vec<(Arc<Layout>, Option<usize>)>,
}

impl<'a> FieldReader<'a> {
    /// Maximum number of layouts that are remembered. To find one among more takes as long as to
    /// search the name.
    const MAX_LAYOUTS: usize = 16;

    /// Creates a reader of the field with this name.
    pub fn new(name: &'a str) -> Self {
        FieldReader { name, positions: Vec::new() }
    }

    /// Returns the value of the field in a reply. The same as [`Fields::get`].
    pub fn get<'f>(&mut self, fields: &'f Fields) -> Option<&'f str> {
        let layout = fields.layout();
        let is_same = |(known, _): &&(Arc<Layout>, Option<usize>)| Arc::ptr_eq(known, layout);
        if let Some((_, position)) = self.positions.iter().find(is_same) {
            return fields.at((*position)?);
        }
        let position = layout.position(self.name);
        if self.positions.len() < Self::MAX_LAYOUTS {
            self.positions.push((Arc::clone(layout), position));
        }
        fields.at(position?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_read_from_replies_with_any_layout() {
        let mut reader = FieldReader::new("b");
        for padding in 0..40 {
            let names = "field:0\n".repeat(padding);
            let with = Fields::parse(&format!("{names}a:1\nb:{padding}\nb:x\n"));
            let without = Fields::parse(&format!("{names}a:1\n"));
            for _ in 0..2 {
                assert_eq!(reader.get(&with), Some(&*padding.to_string()));
                assert_eq!(reader.get(&without), None);
            }
        }
        assert_eq!(reader.positions.len(), FieldReader::MAX_LAYOUTS);
    }
}
