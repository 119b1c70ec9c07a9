//! A form without JavaScript that no other site can forge and that is processed once.
//! Run it with `cargo run --example form`, and open <http://127.0.0.1:8000>.

use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{FromForm, get, launch, post, routes};
use rocket_session_kit::{CsrfForm, CsrfToken, Notification, Notify, Result, Session, Sessions};

#[derive(FromForm)]
struct Order<'r> {
    form: &'r str,
    cups: i64,
}

#[get("/")]
fn page(csrf: CsrfToken, session: &Session, note: Option<Notification>) -> Result<RawHtml<String>> {
    let cups: i64 = session.get("cups")?.unwrap_or(0);
    let note = note.map_or(String::new(), |note| format!("<p>{note}</p>"));
    let form = session.create_form_token();
    Ok(RawHtml(format!(
        r#"<!doctype html><title>Tea</title>{note}<p>Cups ordered: {cups}</p>
<form method="post" action="/">
<input type="hidden" name="csrf_token" value="{csrf}">
<input type="hidden" name="form" value="{form}">
<input type="number" name="cups" value="1"> <button>Order</button>
</form>"#
    )))
}

#[post("/", data = "<order>")]
async fn order(order: CsrfForm<Order<'_>>, session: &Session) -> Result<Notify<Redirect>> {
    if !session.remove_form_token(order.form).await? {
        return Ok(Notify::warning(
            Redirect::to("/"),
            "You sent that form already.",
        ));
    }
    session.increment("cups", order.cups)?;
    Ok(Notify::success(Redirect::to("/"), "Thank you."))
}

#[launch]
pub(crate) fn rocket() -> _ {
    let rocket = rocket::build().mount("/", routes![page, order]);
    rocket.attach(Sessions::fairing())
}
