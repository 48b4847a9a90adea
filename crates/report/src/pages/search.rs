//! Looking for some among many, and turning pages: by links and a form, so that it works without a script.

use maud::{Markup, html};

use super::links::paged;

/// What is asked of a list.
#[derive(Debug, Clone, Default)]
pub struct SearchQuery {
    /// Words to look for; everything without.
    pub words: String,
    /// Which part of the list, from 1; 0 is the first too.
    pub page: usize,
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// What is shown.
    pub(super) items: Vec<T>,
    /// Which part it is, from 1.
    page: usize,
    /// How many parts there are.
    pages: usize,
    /// How many items there are in all.
    pub(super) total: usize,
}

impl SearchQuery {
    /// Whether any of these texts has the words.
    pub(super) fn matches<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let words = self.words.trim().to_lowercase();
        words.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&words))
    }

    /// The part of a list that is asked for, of at most that many items; the last one where there are fewer.
    pub(super) fn part<T>(&self, items: Vec<T>, size: usize) -> Part<T> {
        let total = items.len();
        let pages = total.div_ceil(size).max(1);
        let page = self.page.clamp(1, pages);
        let items = items.into_iter().skip((page - 1) * size).take(size).collect();
        Part { items, page, pages, total }
    }

    /// The field to search in a list.
    pub(super) fn form(&self, label: &str) -> Markup {
        html! {
            form.search role="search" method="get" {
                label for="q" { (label) }
                input #q type="search" name="q" value=(self.words) autocomplete="off" spellcheck="false";
                button type="submit" { "Search" }
                @if !self.words.is_empty() { a href="?" { "Show all" } }
            }
        }
    }

    /// The links to the other parts.
    pub(super) fn turn<T>(&self, part: &Part<T>, what: &str) -> Markup {
        html! {
            @if part.pages > 1 {
                nav.pages aria-label={ "Pages of " (what) } {
                    @if part.page > 1 { a rel="prev" href=(paged(&self.words, part.page - 1)) { "Previous" } }
                    span { "Page " (part.page) " of " (part.pages) ", " (part.total) " " (what) }
                    @if part.page < part.pages { a rel="next" href=(paged(&self.words, part.page + 1)) { "Next" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_beyond_the_last_is_the_last() {
        let items = || (0..25).collect::<Vec<_>>();
        let part = |page| SearchQuery { page, ..SearchQuery::default() }.part(items(), 10).items;
        assert_eq!(
            (part(0)[0], part(1)[0], part(2)[0], part(3)),
            (0, 0, 10, vec![20, 21, 22, 23, 24])
        );
        assert_eq!(part(usize::MAX), part(3));
        assert!(SearchQuery::default().part(Vec::<u8>::new(), 10).items.is_empty());
    }

    #[test]
    fn words_are_found_in_any_case() {
        let asked = SearchQuery { words: " OrderS ".to_owned(), page: 0 };
        assert!(
            asked.matches(["cache", "orders-0"])
                && !asked.matches(["cache"])
                && SearchQuery::default().matches([])
        );
    }
}
