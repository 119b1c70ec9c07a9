//! A page: a template that is filled in.

use askama::Template;
use rocket::Either;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket_session_kit::Notify;

use crate::error::Result;

/// The HTML of a page.
pub type Page = RawHtml<String>;

/// The response to a form: on to the next page with a message, or the form again with its mistakes.
pub type FormResponse = Either<Notify<Redirect>, (Status, Page)>;

/// Fills `template` in.
pub fn page(template: &impl Template) -> Result<Page> {
    Ok(RawHtml(template.render()?))
}

/// Shows a form again, whose `template` has the mistakes beside the fields.
pub fn again(template: &impl Template) -> Result<FormResponse> {
    Ok(Either::Right((
        Status::UnprocessableEntity,
        page(template)?,
    )))
}

/// Sends the browser on.
pub fn onward(next: Notify<Redirect>) -> Result<FormResponse> {
    Ok(Either::Left(next))
}
