//! The error pages: what went wrong, and what to do about it. None of them needs the session.

use std::io::Cursor;

use askama::Template;
use rocket::fairing::AdHoc;
use rocket::http::{Method, Status};
use rocket::{Catcher, Request, catch, uri};

use crate::database::Database;
use crate::entries::Entry;
use crate::layout::{Frame, Layout};
use crate::page::{Page, page};
use crate::sign_in;

#[derive(Template, Default)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    code: u16,
    title: &'static str,
    advice: String,
    /// What to do first: the address and the text of a link.
    action: Option<(String, &'static str)>,
    /// What can be read without a session.
    entries: Vec<Entry>,
}

type Caught = Result<Page, Status>;

/// Returns the catchers for the whole site.
pub fn all() -> Vec<Catcher> {
    rocket::catchers![
        unauthorized,
        too_many_requests,
        internal_error,
        service_unavailable,
        other
    ]
}

/// Nobody is signed in: the page says where, and the browser comes back here.
#[catch(401)]
async fn unauthorized(request: &Request<'_>) -> Caught {
    let next = request.uri().to_string();
    let next = (request.method() == Method::Get).then_some(next.as_str());
    rendered(&ErrorPage {
        frame: frame(request).await,
        code: 401,
        title: "Please sign in",
        advice: "This page is for members.".to_owned(),
        action: Some((uri!(sign_in::show(next)).to_string(), "Sign in")),
        ..ErrorPage::default()
    })
}

#[catch(429)]
fn too_many_requests(request: &Request<'_>) -> Caught {
    rendered(&slow_down(request, None))
}

/// The database may be down, so this page needs it as little as the session.
#[catch(500)]
fn internal_error(request: &Request<'_>) -> Caught {
    rendered(&ErrorPage {
        frame: Frame::bare(request),
        code: 500,
        title: "Something is broken here",
        advice: "It is not your fault. Nothing was changed. Please try again later.".to_owned(),
        ..ErrorPage::default()
    })
}

/// The store of the sessions is down: nobody can sign in or write, but everybody can read.
#[catch(503)]
async fn service_unavailable(request: &Request<'_>) -> Caught {
    let entries = Database::of(request).newest_entries(10).await;
    let entries = entries.unwrap_or_default();
    let mut frame = Frame::bare(request);
    frame.latest = entries.iter().take(5).cloned().collect();
    let is_page = request.method() == Method::Get;
    rendered(&ErrorPage {
        frame,
        code: 503,
        title: "Back in a moment",
        advice: "The sessions of this site cannot be reached, so nobody can sign in or write now. Your \
                 session is safe. If you sent a form, look whether it counted before you send it again. \
                 Please try again in a few seconds."
            .to_owned(),
        action: is_page.then(|| (request.uri().to_string(), "Try again")),
        entries,
    })
}

#[catch(default)]
async fn other(status: Status, request: &Request<'_>) -> Caught {
    let (title, advice) = match status.code {
        400 => (
            "This request makes no sense",
            "The address or the form is malformed.",
        ),
        403 if request.method() == Method::Get => (
            "This page is not for you",
            "Only the administrator can see it.",
        ),
        403 if !request.headers().contains("Cookie") => (
            "Your browser sent no cookie",
            "Without cookies, this site can only be read. Allow them for this site, open the page of the \
             form again, and send it once more.",
        ),
        403 => (
            "This form was refused",
            "It is too old, or another site has sent it. Open its page again, and send it once more.",
        ),
        404 => (
            "There is no such page",
            "The address may be misspelled, or the page has gone.",
        ),
        413 => (
            "This is too much",
            "What you sent is larger than the site accepts.",
        ),
        422 => (
            "This form is not complete",
            "A field is missing or has a value that it cannot have.",
        ),
        _ => (
            "This did not work",
            "Please go back and try something else.",
        ),
    };
    rendered(&ErrorPage {
        frame: frame(request).await,
        code: status.code,
        title,
        advice: advice.to_owned(),
        ..ErrorPage::default()
    })
}

/// Returns the fairing that says on each 429 page when to come back. The time is known only after the
/// catcher has run: `Retry-After` has it.
pub fn waiting_time() -> AdHoc {
    AdHoc::on_response("Waiting time", |request, response| {
        Box::pin(async move {
            let seconds = response.headers().get_one("Retry-After");
            let seconds = seconds.and_then(|seconds| seconds.parse().ok());
            if response.status() != Status::TooManyRequests || seconds.is_none() {
                return;
            }
            if let Ok(html) = slow_down(request, seconds).render() {
                response.set_sized_body(html.len(), Cursor::new(html));
            }
        })
    })
}

fn slow_down(request: &Request<'_>, seconds: Option<u64>) -> ErrorPage {
    let wait = match seconds {
        None => "later".to_owned(),
        Some(0..=90) => format!("in {} seconds", seconds.unwrap_or_default().max(1)),
        Some(seconds) => format!("in {} minutes", seconds.div_ceil(60)),
    };
    ErrorPage {
        frame: Frame::bare(request),
        code: 429,
        title: "Too many attempts",
        advice: format!(
            "To keep accounts safe, only a few attempts count in a while. Please come back {wait}."
        ),
        ..ErrorPage::default()
    }
}

/// Returns the frame of an error page: the usual one, or while the store is down a bare one.
async fn frame(request: &Request<'_>) -> Frame {
    if let Some(layout) = request.guard::<Layout<'_>>().await.succeeded()
        && let Ok(frame) = layout.quiet_frame().await
    {
        return frame;
    }
    Frame::bare(request)
}

fn rendered(error_page: &ErrorPage) -> Caught {
    page(error_page).map_err(|_| Status::InternalServerError)
}
