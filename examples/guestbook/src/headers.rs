//! The headers of every response that tell a browser what a page may do.

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Header};

/// Scripts and styles come from this site alone, and none stands in a page. No other site shows the
/// pages in a frame or receives their forms.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the fairing that sets the headers. Rocket's own shield sets others.
pub fn fairing() -> AdHoc {
    AdHoc::on_response("Headers", |_, response| {
        Box::pin(async move {
            response.set_header(Header::new("Content-Security-Policy", POLICY));
            response.set_header(Header::new("Referrer-Policy", "same-origin"));
            // Else the browser's button "back" shows a page of a member again after the sign-out.
            if response.content_type() == Some(ContentType::HTML) {
                response.set_header(Header::new("Cache-Control", "no-store"));
            }
        })
    })
}
