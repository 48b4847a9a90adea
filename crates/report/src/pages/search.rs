//! Search and pagination of lists, as links and a form that work without a script.

use maud::{Markup, html};

use super::links::list_page;

/// The requested part of a list.
#[derive(Debug, Clone, Default)]
pub struct SearchQuery {
    /// Search words; the empty string matches everything.
    pub words: String,
    /// Page number, from 1; 0 is also the first page.
    pub page: usize,
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct ListPage<T> {
    /// The items on this page.
    pub(super) items: Vec<T>,
    /// The number of this page, from 1.
    page: usize,
    /// Number of pages.
    pages: usize,
    /// Number of items on all pages.
    pub(super) total: usize,
}

impl SearchQuery {
    /// Returns whether any of these texts contains the search words, in any case.
    pub(super) fn matches<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let words = self.words.trim().to_lowercase();
        words.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&words))
    }

    /// Returns the requested page of a list with this page size, or the last page if there are
    /// fewer pages.
    pub(super) fn paginate<T>(&self, items: Vec<T>, size: usize) -> ListPage<T> {
        let total = items.len();
        let pages = total.div_ceil(size).max(1);
        let page = self.page.clamp(1, pages);
        let items = items.into_iter().skip((page - 1) * size).take(size).collect();
        ListPage { items, page, pages, total }
    }

    /// Returns the search form.
    pub(super) fn form(&self, label: &str) -> Markup {
        html! {
            form.search role="search" method="get" {
                label for="q" { (label) }
                input #q type="search" name="q" value=(self.words)
                    autocomplete="off" spellcheck="false";
                button type="submit" { "Search" }
                @if !self.words.is_empty() { a href="?" { "Show all" } }
            }
        }
    }

    /// Returns the links to the previous and the next page.
    pub(super) fn page_links<T>(&self, list: &ListPage<T>, noun: &str) -> Markup {
        let link = |page| list_page(&self.words, page);
        html! {
            @if list.pages > 1 {
                nav.pages aria-label={ "Pages of " (noun) } {
                    @if list.page > 1 { a rel="prev" href=(link(list.page - 1)) { "Previous" } }
                    span { "Page " (list.page) " of " (list.pages) ", " (list.total) " " (noun) }
                    @if list.page < list.pages {
                        a rel="next" href=(link(list.page + 1)) { "Next" }
                    }
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
        let query = |page| SearchQuery { page, ..SearchQuery::default() };
        let page = |page| query(page).paginate(items(), 10).items;
        assert_eq!(
            (page(0)[0], page(1)[0], page(2)[0], page(3)),
            (0, 0, 10, vec![20, 21, 22, 23, 24])
        );
        assert_eq!(page(usize::MAX), page(3));
        assert!(SearchQuery::default().paginate(Vec::<u8>::new(), 10).items.is_empty());
    }

    #[test]
    fn search_ignores_case_and_surrounding_spaces() {
        let query = SearchQuery { words: " OrderS ".to_owned(), page: 0 };
        assert!(
            query.matches(["cache", "orders-0"])
                && !query.matches(["cache"])
                && SearchQuery::default().matches([])
        );
    }
}
