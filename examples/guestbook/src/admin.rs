//! The administrator's page: all sessions, found by user, ended and swept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use askama::Template;
use rocket::futures::TryStreamExt;
use rocket::response::Redirect;
use rocket::{FromForm, FromFormField, UriDisplayQuery, get, post, uri};
use rocket_session_kit::{CsrfForm, CsrfToken, Notify, Record, SessionHandle, Sessions};

use crate::error::Result;
use crate::layout::{Frame, Layout};
use crate::member::{Administrator, Member};
use crate::moment::Moment;
use crate::my_sessions::End;
use crate::page::{Page, page};
use crate::paging::Paging;

/// The number of sessions on a page.
const PER_PAGE: u32 = 20;

/// The last page. Those before it are in memory while it is made, and whoever looks further searches.
const LAST_PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "admin.html")]
struct AllSessions<'q> {
    frame: Frame,
    csrf: CsrfToken,
    q: &'q str,
    who: Who,
    rows: Vec<Row>,
    total: u32,
    paging: Paging,
}

/// Which visitors are shown.
#[derive(Clone, Copy, PartialEq, Eq, FromFormField, UriDisplayQuery)]
pub enum Who {
    #[field(value = "all")]
    All,
    #[field(value = "members")]
    Members,
    #[field(value = "guests")]
    Guests,
}

/// One session in the table. The one that was used last is the greatest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    seen: Moment,
    created: Moment,
    user: Option<String>,
    address: Option<IpAddr>,
    values: usize,
    handle: Option<String>,
}

impl Row {
    fn new(record: &Record) -> Self {
        Self {
            seen: record.accessed_at().into(),
            created: record.created_at().into(),
            user: record.user().map(str::to_owned),
            address: record.remote_address(),
            values: record.len(),
            handle: record.handle().map(|handle| handle.to_string()),
        }
    }
}

#[get("/admin/sessions?<page>&<q>&<who>")]
pub async fn show(
    page: Option<u32>,
    q: Option<&str>,
    who: Option<Who>,
    admin: Administrator<'_>,
    sessions: &Sessions,
    layout: Layout<'_>,
) -> Result<Page> {
    let page = page.unwrap_or(1).clamp(1, LAST_PAGE);
    let (q, who) = (q.unwrap_or_default().trim(), who.unwrap_or(Who::All));
    let (rows, total) = found(sessions, page, |record| is_meant(record, q, who)).await?;
    let shown = total.min(LAST_PAGE * PER_PAGE);
    let link = |page| uri!(show(Some(page), Some(q), Some(who))).to_string();
    self::page(&AllSessions {
        paging: Paging::new(page, shown, PER_PAGE, link),
        csrf: admin.0.session.csrf_token(),
        frame: layout.frame().await?,
        q,
        who,
        rows,
        total,
    })
}

/// Returns the rows of `page`, the last used first, and the number of all sessions that `is_meant`
/// finds. The sessions come one after the other, and only the rows up to this page stay in memory.
async fn found(
    sessions: &Sessions,
    page: u32,
    is_meant: impl Fn(&Record) -> bool,
) -> Result<(Vec<Row>, u32)> {
    let up_to_here = (page * PER_PAGE) as usize;
    let mut newest = BinaryHeap::with_capacity(up_to_here + 1);
    let mut total = 0;
    let mut all = sessions.iter_sessions();
    while let Some((_, record)) = all.try_next().await? {
        if is_meant(&record) {
            total += 1;
            newest.push(Reverse(Row::new(&record)));
            if newest.len() > up_to_here {
                newest.pop();
            }
        }
    }
    let rows = newest.into_sorted_vec().into_iter().map(|Reverse(row)| row);
    let before = ((page - 1) * PER_PAGE) as usize;
    Ok((rows.skip(before).collect(), total))
}

/// Returns whether the session is one of `who`, and the name of its user contains `q`.
fn is_meant(record: &Record, q: &str, who: Who) -> bool {
    let user = record.user();
    let is_one_of_them = match who {
        Who::All => true,
        Who::Members => user.is_some(),
        Who::Guests => user.is_none(),
    };
    let q = q.to_lowercase();
    is_one_of_them && (q.is_empty() || user.is_some_and(|user| user.to_lowercase().contains(&q)))
}

#[post("/admin/sessions/end", data = "<form>")]
pub async fn end(
    form: CsrfForm<End>,
    admin: Administrator<'_>,
    sessions: &Sessions,
) -> Result<Notify<Redirect>> {
    if is_own(&admin.0, &form.handle, sessions).await? {
        let message = "This is your own session. To end it, sign out.";
        return Ok(Notify::warning(here(), message));
    }
    Ok(match sessions.end_by(&form.handle).await? {
        true => Notify::success(here(), "The session has ended."),
        false => Notify::warning(here(), "That session had ended already."),
    })
}

/// Returns whether `handle` names the session of this request.
async fn is_own(admin: &Member<'_>, handle: &SessionHandle, sessions: &Sessions) -> Result<bool> {
    let own = sessions.of_user(&admin.account.name).await?;
    let mut own = own.iter();
    Ok(own.any(|place| place.handle() == *handle && place.is_current(admin.session)))
}

/// The form that ends all sessions of a user.
#[derive(FromForm)]
pub struct EndAll<'r> {
    user: &'r str,
}

#[post("/admin/sessions/end-all", data = "<form>")]
pub async fn end_all(
    form: CsrfForm<EndAll<'_>>,
    admin: Administrator<'_>,
    sessions: &Sessions,
) -> Result<Notify<Redirect>> {
    let ended = sessions
        .end_all_of(form.user, Some(admin.0.session))
        .await?;
    let message = format!("Sessions of {} that have ended: {ended}.", form.user);
    Ok(Notify::success(here(), message))
}

/// The form that removes old sessions.
#[derive(FromForm)]
pub struct Sweep {
    #[field(validate = range(1..=3650))]
    days: u64,
}

#[post("/admin/sweep", data = "<form>")]
pub async fn sweep(
    form: CsrfForm<Sweep>,
    _admin: Administrator<'_>,
    sessions: &Sessions,
) -> Result<Notify<Redirect>> {
    let swept = sessions.delete_old_sessions(form.days * 24 * 60).await?;
    let message = format!(
        "Sessions removed that had expired or were not used for {} days: {}.",
        form.days, swept.deleted
    );
    Ok(Notify::success(here(), message))
}

fn here() -> Redirect {
    Redirect::to(uri!(show(_, _, _)))
}
