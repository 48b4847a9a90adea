//! What pages need beside their text: a style sheet, a script and an icon, each under a name that changes with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// A file that pages refer to, served as `/static/<name>`.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its name, with a hash of its text: it may be kept for ever.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its text.
    pub text: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("css", "text/css; charset=utf-8", include_str!("assets/page.css")),
        Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
        Asset::new("svg", "image/svg+xml", include_str!("assets/page.svg")),
    ]
});

/// Every file that pages refer to.
pub fn assets() -> &'static [Asset] {
    &*ASSETS
}

/// The style sheet, the script and the icon.
pub(super) fn names() -> [&'static str; 3] {
    ASSETS.each_ref().map(|asset| asset.name.as_str())
}

impl Asset {
    fn new(extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Asset { name: format!("page-{:016x}.{extension}", hasher.finish()), content_type, text }
    }
}
