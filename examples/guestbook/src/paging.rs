//! Pages of a long list, and the links between them.

/// The place of a page among all pages.
pub struct Paging {
    pub page: u32,
    pub pages: u32,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl Paging {
    /// Returns the place of `page` in a list of `items`. `link` is the address of a page.
    pub fn new(page: u32, items: u32, per_page: u32, link: impl Fn(u32) -> String) -> Self {
        let pages = items.div_ceil(per_page).max(1);
        Self {
            page,
            pages,
            previous: (page > 1).then(|| link((page - 1).min(pages))),
            next: (page < pages).then(|| link(page + 1)),
        }
    }
}
