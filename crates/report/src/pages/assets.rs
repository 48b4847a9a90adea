//! The style sheet, the script and the icon of the pages. The name of each file contains a hash of
//! its content, so that browsers may cache it forever.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// A file that pages refer to, served as `/static/<name>`.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The file name, with a hash of the content.
    pub name: String,
    /// The media type.
    pub content_type: &'static str,
    /// The content.
    pub text: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("css", "text/css; charset=utf-8", include_str!("assets/page.css")),
        Asset::new("js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
        Asset::new("svg", "image/svg+xml", include_str!("assets/page.svg")),
    ]
});

/// Returns every file that pages refer to.
pub fn assets() -> &'static [Asset] {
    &*ASSETS
}

/// Returns the names of the style sheet, the script and the icon.
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
