//! Layouts: the names of the fields of a reply, which many replies have in common.
//!
//! A server sends the same fields in each reply to INFO, and other servers of its version, role and
//! settings send them, too. So the names are stored once, in a [`Layout`]. A reply has its own
//! values, in the order of the names ([`Fields`]).
//!
//! [`ExpectedLayout`] compares a reply with the layout of the reply before it, line by line. While
//! the names are equal, only values are copied. The names from the first different one on are
//! collected. Then the layout is searched by all its names in [`Layouts`], and created if no node
//! had it before. The result depends only on the reply, not on the layout that was expected.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::Fields;
use crate::lines::split_line;
use crate::texts::Texts;

/// Maximum length of a line, bytes. Longer lines are skipped.
const MAX_LINE: usize = 4096;

/// Maximum number of lines that are kept. Real replies have about 200.
const MAX_LINES: usize = 4096;

/// Prefixes of lines that other types parse. Scripts can create any number of such lines.
const SKIPPED_PREFIXES: [&str; 3] = ["errorstat_", "cmdstat_", "latency_percentiles_usec_"];

/// Names of the fields of a reply to INFO or CLUSTER INFO, in the order of its lines.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The name of each line with the colon after it. A name may repeat.
    names: Texts,
    /// Position of the first line with each name.
    first_lines: HashTable<u16>,
    hasher: DefaultHashBuilder,
    /// Number and position of the fields of each [`NumberedField`], sorted.
    numbered: [Vec<(u32, u16)>; NumberedField::ALL.len()],
}

/// Kind of field of which a reply contains any number, with numbers in their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberedField {
    /// `dbN`.
    Database,
    /// `slaveN`.
    Replica,
    /// `masterN`.
    Master,
}

/// Layouts that several nodes share. Clones have the same content.
///
/// Keeps at most 64 layouts, and none of an unusual size. A node whose layout is not kept shares it
/// with no other node.
#[derive(Debug, Clone, Default)]
pub struct Layouts(Arc<Mutex<Vec<Arc<Layout>>>>);

/// Layout that the next reply of one node to one command is expected to have.
///
/// ```
/// use snapshot::{ExpectedLayout, Layouts};
///
/// let mut expected = ExpectedLayout::new(&Layouts::default());
/// let before = expected.parse("# Stats\r\nsync_full:2\r\nevicted_keys:0\r\n");
/// let after = expected.parse("# Stats\r\nsync_full:3\r\nevicted_keys:0\r\n");
/// assert_eq!((before.count("sync_full"), after.count("sync_full")), (Some(2), Some(3)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExpectedLayout {
    /// Layout of the last reply; empty before the first one.
    layout: Arc<Layout>,
    layouts: Layouts,
}

impl ExpectedLayout {
    /// Expects no layout yet. Those of replies are shared through `layouts`.
    pub fn new(layouts: &Layouts) -> Self {
        ExpectedLayout { layout: Arc::default(), layouts: layouts.clone() }
    }

    /// Parses the reply to INFO or CLUSTER INFO. Returns the same as [`Fields::parse`].
    pub fn parse(&mut self, text: &str) -> Fields {
        self.parse_with(text, |_| {})
    }

    /// Parses a reply, and passes each line that is not kept to `skip`, without its line ending.
    pub(crate) fn parse_with<'a>(
        &mut self,
        text: &'a str,
        mut skip: impl FnMut(&'a str),
    ) -> Fields {
        let layout = Arc::clone(&self.layout);
        let size = text.len().saturating_sub(layout.names.size()).min(16 << 10);
        let mut values = Texts::with_capacity(layout.names.len(), size);
        let mut expected_names = layout.names.iter().peekable();
        // Names of the lines so far. `None` while they are those of the expected layout.
        let mut names: Option<Texts> = None;
        let mut rest = text;
        while !rest.is_empty() {
            if names.is_none()
                && let Some((value, after)) =
                    expected_names.peek().and_then(|name| expected_value(name, rest))
            {
                values.push(value);
                expected_names.next();
                rest = after;
                continue;
            }
            let position = values.len();
            let (line, after) = split_line(rest);
            rest = after;
            match split_field(line).filter(|_| position < MAX_LINES) {
                Some((name, value)) => {
                    names.get_or_insert_with(|| layout.names.first(position)).push(name);
                    values.push(value);
                }
                None => skip(line),
            }
        }
        if names.is_none() && values.len() < layout.names.len() {
            names = Some(layout.names.first(values.len()));
        }
        if let Some(names) = names {
            self.layout = self.layouts.layout_with(names);
        }
        values.shrink_to_fit();
        Fields::new(Arc::clone(&self.layout), values)
    }
}

impl Layouts {
    /// Maximum number of layouts.
    const MAX_LAYOUTS: usize = 64;
    /// Maximum size of all names of a layout, bytes. The names of real replies have about 5,000.
    const MAX_SIZE: usize = 32 << 10;

    /// Returns the layout with these names.
    fn layout_with(&self, names: Texts) -> Arc<Layout> {
        if names.size() > Self::MAX_SIZE {
            return Arc::new(Layout::new(names));
        }
        // The layout that was requested last comes last.
        let mut layouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = layouts.iter().position(|layout| layout.names == names) {
            layouts[index..].rotate_left(1);
        } else {
            if layouts.len() == Self::MAX_LAYOUTS {
                // A layout that nodes have is of more use than one that they had.
                let unused = layouts.iter().position(|layout| Arc::strong_count(layout) == 1);
                layouts.remove(unused.unwrap_or(0));
            }
            layouts.push(Arc::new(Layout::new(names)));
        }
        layouts.last().cloned().unwrap_or_default()
    }
}

impl Layout {
    fn new(mut names: Texts) -> Self {
        names.shrink_to_fit();
        let first_lines = HashTable::with_capacity(names.len());
        let mut layout = Layout { names, first_lines, ..Layout::default() };
        for position in 0..u16::try_from(layout.names.len()).unwrap_or(u16::MAX) {
            layout.index(position);
        }
        layout.numbered = NumberedField::ALL.map(|kind| layout.numbers(kind));
        layout
    }

    /// Adds the name of a line to the index, unless a line before it has the same.
    fn index(&mut self, position: u16) {
        let Layout { names, first_lines, hasher, .. } = self;
        let name_of = |position: &u16| name(names, usize::from(*position));
        let name = name_of(&position);
        first_lines
            .entry(
                hasher.hash_one(name),
                |other| name_of(other) == name,
                |other| hasher.hash_one(name_of(other)),
            )
            .or_insert(position);
    }

    /// Returns number and position of all fields of one kind, sorted.
    fn numbers(&self, kind: NumberedField) -> Vec<(u32, u16)> {
        let number = |position: &u16| {
            let number = self.name(usize::from(*position)).strip_prefix(kind.prefix())?;
            Some((number.parse().ok()?, *position))
        };
        let mut numbers: Vec<_> = self.first_lines.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns the name of a line; an empty one if there is no such line.
    pub(crate) fn name(&self, position: usize) -> &str {
        name(&self.names, position)
    }

    /// Returns the position of the first line of each name, in no particular order.
    pub(crate) fn first_lines(&self) -> impl Iterator<Item = usize> {
        self.first_lines.iter().map(|position| usize::from(*position))
    }

    /// Returns the names that more than one line has.
    pub(crate) fn repeated_names(&self) -> BTreeSet<&str> {
        if self.first_lines.len() == self.names.len() {
            return BTreeSet::new();
        }
        let is_first = |position: &usize| self.position(self.name(*position)) == Some(*position);
        let later = (0..self.names.len()).filter(|position| !is_first(position));
        later.map(|position| self.name(position)).collect()
    }

    /// Returns the position of the first line with a name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let has_name = |position: &u16| self.name(usize::from(*position)) == name;
        self.first_lines.find(self.hasher.hash_one(name), has_name).map(|found| usize::from(*found))
    }

    /// Returns number and position of the fields of one kind, sorted by number.
    pub(crate) fn numbered(&self, kind: NumberedField) -> impl Iterator<Item = (u32, usize)> {
        let fields = self.numbered[kind as usize].iter();
        fields.map(|(number, position)| (*number, usize::from(*position)))
    }
}

impl NumberedField {
    /// Every kind, in the order of the discriminants.
    const ALL: [NumberedField; 3] =
        [NumberedField::Database, NumberedField::Replica, NumberedField::Master];

    /// Returns the part of the name before the number.
    const fn prefix(self) -> &'static str {
        match self {
            NumberedField::Database => "db",
            NumberedField::Replica => "slave",
            NumberedField::Master => "master",
        }
    }
}

/// Returns the name of a line without the colon.
fn name(names: &Texts, position: usize) -> &str {
    names.get(position).and_then(|name| name.strip_suffix(':')).unwrap_or_default()
}

/// Returns the value in the first line of the text, and the text after this line. `None` if the
/// line does not have this name, or is too long. `name` ends with the colon.
fn expected_value<'a>(name: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let (value, rest) = split_line(text.strip_prefix(name)?);
    (name.len() + value.len() <= MAX_LINE).then_some((value, rest))
}

/// Returns the name with its colon and the value of a line; `None` if the line is not kept.
fn split_field(line: &str) -> Option<(&str, &str)> {
    let is_kept = line.len() <= MAX_LINE
        && !line.starts_with('#')
        && !SKIPPED_PREFIXES.iter().any(|prefix| line.starts_with(prefix));
    let colon = line.find(':').filter(|_| is_kept)?;
    Some(line.split_at(colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a reply with two fields, one of which has a number in its name.
    fn reply(number: usize) -> String {
        format!("role:master\r\nfield_{number}:1\r\n")
    }

    #[test]
    fn nodes_share_the_layouts_of_their_replies() {
        let layouts = Layouts::default();
        let mut nodes = [(); 2].map(|()| ExpectedLayout::new(&layouts));
        for text in [reply(1), reply(2), reply(1)] {
            let [first, second] = nodes.each_mut().map(|node| node.parse(&text));
            assert!(first.lines().eq(second.lines()) && first.lines().count() == 2);
            assert!(Arc::ptr_eq(&nodes[0].layout, &nodes[1].layout), "{text}");
        }
        assert_eq!(layouts.0.lock().expect("layouts").len(), 2);
    }

    #[test]
    fn layouts_without_nodes_are_forgotten_first() {
        let layouts = Layouts::default();
        let mut node = ExpectedLayout::new(&layouts);
        node.parse(&reply(0));
        let mut passing = ExpectedLayout::new(&layouts);
        for number in 1..200 {
            let fields = passing.parse(&reply(number));
            assert_eq!(fields.count(&format!("field_{number}")), Some(1));
        }
        assert_eq!(layouts.0.lock().expect("layouts").len(), Layouts::MAX_LAYOUTS);
        passing.parse(&reply(0));
        assert!(Arc::ptr_eq(&node.layout, &passing.layout));
    }

    #[test]
    fn layout_of_an_unusual_size_is_not_shared() {
        let layouts = Layouts::default();
        let name = "x".repeat(4000);
        let text: String = (0..9).flat_map(|_| [&*name, ":7\n"]).collect();
        let fields = ExpectedLayout::new(&layouts).parse(&text);
        assert_eq!((fields.count(&name), fields.lines().count()), (Some(7), 9));
        assert_eq!(layouts.0.lock().expect("layouts").len(), 0);
    }

    #[test]
    fn line_longer_than_the_limit_is_skipped_in_an_expected_layout() {
        let mut node = ExpectedLayout::default();
        node.parse("role:master\nlong:\nend:1\n");
        let longest = "x".repeat(MAX_LINE - "long:".len());
        let kept = node.parse(&format!("role:master\nlong:{longest}\r\r\nend:1\n"));
        assert_eq!(kept.get("long"), Some(&*longest));
        let skipped = node.parse(&format!("role:master\nlong:{longest}x\nend:1\n"));
        assert!(skipped.lines().eq([("role", "master"), ("end", "1")]));
    }
}
