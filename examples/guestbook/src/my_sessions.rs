//! The page "Where you are signed in", on which members end their own sessions.

use std::net::IpAddr;

use askama::Template;
use rocket::response::Redirect;
use rocket::{FromForm, get, post, uri};
use rocket_session_kit::{
    CsrfForm, CsrfToken, Notify, Session, SessionHandle, Sessions, UserSession,
};

use crate::browser;
use crate::error::Result;
use crate::home;
use crate::layout::{Frame, Layout};
use crate::member::Member;
use crate::moment::Moment;
use crate::page::{Page, page};

#[derive(Template)]
#[template(path = "my_sessions.html")]
struct MySessions {
    frame: Frame,
    csrf: CsrfToken,
    places: Vec<Place>,
}

/// One of the places where the member is signed in.
struct Place {
    handle: SessionHandle,
    is_here: bool,
    browser: String,
    agent: String,
    address: Option<IpAddr>,
    created: Moment,
    seen: Moment,
}

impl Place {
    fn new(session: &UserSession, here: &Session) -> Self {
        let agent = session.user_agent().unwrap_or_default();
        Self {
            handle: session.handle(),
            is_here: session.is_current(here),
            browser: browser::short_name(agent),
            agent: agent.to_owned(),
            address: session.remote_address(),
            created: session.created_at().into(),
            seen: session.accessed_at().into(),
        }
    }
}

/// The form that ends one session. A handle is the public name of a session.
#[derive(FromForm)]
pub struct End {
    pub handle: SessionHandle,
}

#[get("/sessions")]
pub async fn show(member: Member<'_>, sessions: &Sessions, layout: Layout<'_>) -> Result<Page> {
    let places = sessions.of_user(&member.account.name).await?;
    let places = places.iter().map(|place| Place::new(place, member.session));
    page(&MySessions {
        places: places.collect(),
        csrf: member.session.csrf_token(),
        frame: layout.frame().await?,
    })
}

#[post("/sessions/end", data = "<form>")]
pub async fn end(
    form: CsrfForm<End>,
    member: Member<'_>,
    sessions: &Sessions,
) -> Result<Notify<Redirect>> {
    let here = Redirect::to(uri!(show));
    // A handle names a session of any user, so it is looked up among the member's own.
    let own = sessions.of_user(&member.account.name).await?;
    let Some(place) = own.iter().find(|place| place.handle() == form.handle) else {
        let gone = "None of your sessions has that name. It may have ended already.";
        return Ok(Notify::warning(here, gone));
    };
    if place.is_current(member.session) {
        member.session.log_out();
        let home = Redirect::to(uri!(home::show(_)));
        return Ok(Notify::success(home, "You are signed out."));
    }
    sessions.end_by(&form.handle).await?;
    Ok(Notify::success(here, "You are signed out there."))
}

#[post("/sessions/end-others", data = "<_form>")]
pub async fn end_others(_form: CsrfForm, member: Member<'_>) -> Result<Notify<Redirect>> {
    let message = match member.session.end_others().await? {
        0 => "You were signed in nowhere else.".to_owned(),
        1 => "You are signed out at one other place.".to_owned(),
        ended => format!("You are signed out at {ended} other places."),
    };
    Ok(Notify::success(Redirect::to(uri!(show)), message))
}
