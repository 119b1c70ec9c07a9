//! The style sheet, the script and the icon, which are part of the binary.

use rocket::get;
use rocket::http::{ContentType, Header};
use rocket::response::Responder;

/// A file of the site.
#[derive(Responder)]
pub struct Asset {
    text: &'static str,
    content_type: ContentType,
    cache: Header<'static>,
}

impl Asset {
    fn new(content_type: ContentType, text: &'static str) -> Self {
        let cache = Header::new("Cache-Control", "public, max-age=600");
        Self {
            text,
            content_type,
            cache,
        }
    }
}

#[get("/static/style.css")]
pub fn style() -> Asset {
    Asset::new(ContentType::CSS, include_str!("../static/style.css"))
}

#[get("/static/live.js")]
pub fn live() -> Asset {
    Asset::new(ContentType::JavaScript, include_str!("../static/live.js"))
}

#[get("/static/icon.svg")]
pub fn icon() -> Asset {
    Asset::new(ContentType::SVG, include_str!("../static/icon.svg"))
}
