//! The live page: a stream of new entries, which ends with the session.

use std::time::Duration;

use askama::Template;
use rocket::response::stream::{Event, EventStream};
use rocket::tokio::select;
use rocket::tokio::sync::broadcast;
use rocket::tokio::time::interval;
use rocket::{Shutdown, State, get};
use rocket_session_kit::Session;
use serde_json::json;

use crate::database::Database;
use crate::entries::{Entry, PER_PAGE};
use crate::error::Result;
use crate::layout::{Frame, Layout};
use crate::page::{Page, page};

/// How often a stream looks whether its session goes on, and whether another process added entries.
const LOOK: Duration = Duration::from_secs(1);

/// Wakes all streams of this process after a new entry.
pub struct News(broadcast::Sender<()>);

impl News {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(1))
    }

    /// Wakes the streams. Each then reads from the database what it has not shown yet.
    pub fn wake(&self) {
        // It fails if nobody listens.
        let _ = self.0.send(());
    }
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live {
    frame: Frame,
    entries: Vec<Entry>,
    last: i64,
}

#[get("/live")]
pub async fn show(layout: Layout<'_>, database: &State<Database>) -> Result<Page> {
    let entries = database.newest_entries(PER_PAGE).await?;
    page(&Live {
        last: entries.first().map_or(0, |entry| entry.id),
        entries,
        frame: layout.frame().await?,
    })
}

/// The entries after number `after`, as they come. The first event says who listens: a member or a guest.
#[get("/live/events?<after>")]
pub fn events<'r>(
    after: i64,
    session: &'r Session,
    database: &'r State<Database>,
    news: &'r State<News>,
    mut shutdown: Shutdown,
) -> EventStream![Event + 'r] {
    let (mut last, mut news) = (after, news.0.subscribe());
    EventStream! {
        let listener = if session.user().is_some() { "member" } else { "guest" };
        yield Event::data(listener).event("hello");
        let mut look = interval(LOOK);
        loop {
            select! {
                _ = look.tick() => {}
                _ = news.recv() => {}
                () = &mut shutdown => break,
            }
            match goes_on(session).await {
                Ok(true) => {}
                Ok(false) => {
                    yield Event::empty().event("end");
                    break;
                }
                Err(_) => break, // The store is down. The script comes back later.
            }
            for entry in database.entries_after(last).await.unwrap_or_default() {
                last = entry.id;
                yield entry_event(&entry);
            }
        }
    }
}

/// Returns whether the session of the stream is still there. Somebody without a session may listen.
async fn goes_on(session: &Session) -> rocket_session_kit::Result<bool> {
    Ok(session.is_new() || session.reload().await?)
}

fn entry_event(entry: &Entry) -> Event {
    let data = json!({
        "author": entry.author,
        "initial": entry.initial(),
        "tint": entry.tint(),
        "text": entry.text,
        "iso": entry.written.iso(),
        "written": entry.written.text(),
    });
    Event::json(&data).event("entry").id(entry.id.to_string())
}
