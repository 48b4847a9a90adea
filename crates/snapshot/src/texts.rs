//! A list of short texts in one buffer.

/// List of short texts. They are stored one after the other in one buffer, because an allocation
/// for each text would cost more than the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    buffer: String,
    /// End of each text in the buffer, bytes.
    ends: Vec<u32>,
}

impl Texts {
    /// Returns an empty list with space for this number of texts and of bytes.
    pub(crate) fn with_capacity(texts: usize, bytes: usize) -> Self {
        Texts { buffer: String::with_capacity(bytes), ends: Vec::with_capacity(texts) }
    }

    /// Returns the number of texts.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the size of all texts, bytes.
    pub(crate) fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Appends a text. All texts together must be smaller than 4 GiB.
    pub(crate) fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
        self.ends.push(u32::try_from(self.buffer.len()).expect("more than 4 GiB of texts"));
    }

    /// Returns the text at a position.
    pub(crate) fn get(&self, position: usize) -> Option<&str> {
        let end = *self.ends.get(position)?;
        self.buffer.get(self.start(position)..end as usize)
    }

    /// Returns the position of the first byte of a text in the buffer.
    fn start(&self, position: usize) -> usize {
        position.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// Returns all texts in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.buffer[start..*end as usize];
            start = *end as usize;
            text
        })
    }

    /// Returns the first texts, up to this number.
    pub(crate) fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        Texts {
            buffer: self.buffer[..self.start(count)].to_owned(),
            ends: self.ends[..count].to_vec(),
        }
    }

    /// Releases memory that no text needs.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.buffer.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_position() {
        let mut texts = Texts::with_capacity(0, 0);
        for text in ["a", "", "bü", ""] {
            texts.push(text);
        }
        assert!(texts.iter().eq(["a", "", "bü", ""]));
        assert_eq!((texts.get(2), texts.get(3), texts.get(4)), (Some("bü"), Some(""), None));
        assert_eq!((texts.len(), texts.size()), (4, 4));
    }

    #[test]
    fn first_texts_are_those_of_a_shorter_list() {
        let mut texts = Texts::default();
        texts.push("a");
        let shorter = texts.clone();
        texts.push("bc");
        assert_eq!(texts.first(1), shorter);
        assert_eq!(texts.first(0), Texts::default());
        assert_eq!(texts.first(7), texts);
    }
}
