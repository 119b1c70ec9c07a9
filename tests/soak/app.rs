//! The application that the soak test starts twice on one store. Every request does one act to its
//! visitor's session, and reports the session that it saw.
//!
//! The values of a session show whether a change was lost, counted
//! twice or mixed up: `n` and `u` count the names that begin with `r`, one for each request that
//! changed the session; each of them, and `me`, names the visitor.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rocket::fairing::AdHoc;
use rocket::futures::TryStreamExt;
use rocket::http::Status;
use rocket::response::status::Custom;
use rocket::tokio::time::sleep;
use rocket::{Build, Responder, Rocket, State, get, routes};
use rocket_session_kit::{Clock, Error, Notifications, Record, Result, Session, Sessions};
use serde_json::{Value, json};

/// The lifetime of a remembered log-in: longer than any test, whatever its clocks do.
const LONG: Duration = Duration::from_secs(400 * 86_400);

/// The number of requests of each visitor that are in flight.
type Busy = Arc<Mutex<HashMap<String, usize>>>;

/// One request in flight, until Rocket drops it.
struct UnderWay(Busy, String);

impl UnderWay {
    fn new(busy: &Busy, visitor: &str) -> Self {
        let mut counts = busy.lock().expect("no thread panics while it is locked");
        *counts.entry(visitor.to_owned()).or_default() += 1;
        Self(busy.clone(), visitor.to_owned())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.0.lock().expect("no thread panics while it is locked");
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Records the shown messages and the accepted tokens in a file, because a response may not arrive.
struct Journal(Mutex<File>);

impl Journal {
    fn note(&self, line: &str) {
        let mut file = self.0.lock().expect("no thread panics while it is locked");
        let line = format!("{line}\n");
        file.write_all(line.as_bytes()).expect("there is room");
    }
}

#[derive(Responder)]
enum ActResponse {
    Done(String),
    Failed(Custom<&'static str>),
}

/// Returns the contents of a session for the report.
fn view(
    user: Option<&str>,
    keys: &[String],
    get: impl Fn(&str) -> Result<Option<Value>>,
) -> Result<Value> {
    let names: Vec<&String> = keys.iter().filter(|key| key.starts_with('r')).collect();
    let mut owners = BTreeSet::new();
    for name in &names {
        let owner = get(name)?.unwrap_or_default();
        owners.insert(owner.as_str().unwrap_or("?").to_owned());
    }
    let numbers: Vec<&str> = names.iter().map(|name| &name[1..]).collect();
    let (me, n, u) = (get("me")?, get("n")?, get("u")?);
    Ok(json!({ "me": me, "user": user, "n": n, "u": u, "names": numbers, "owners": owners }))
}

fn seen(session: &Session) -> Result<Value> {
    view(session.user().as_deref(), &session.keys(), |key| {
        session.get(key)
    })
}

fn listed(record: &Record) -> Result<Value> {
    view(record.user(), &record.keys(), |key| record.get(key))
}

/// Gives the session its own name, if it has none.
fn sign(session: &Session, visitor: &str, number: u64) -> Result<()> {
    let own = format!("{visitor}.{number}");
    session.update("me", move |me: &mut String| {
        if me.is_empty() {
            me.clone_from(&own);
        }
    })?;
    Ok(())
}

/// Changes the session so that every change refers to the others.
fn count(session: &Session, visitor: &str, number: u64) -> Result<()> {
    sign(session, visitor, number)?;
    session.increment("n", 1)?;
    session.update("u", |u: &mut u64| *u += 1)?;
    session.insert(&format!("r{number}"), visitor)
}

#[get("/do/<visitor>/<number>/<act>?<arg>&<before>&<after>")]
#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing of the request"
)]
async fn act(
    visitor: &str,
    number: u64,
    act: &str,
    arg: &str,
    before: u64,
    after: u64,
    notes: Notifications<'_>,
    session: &Session,
    sessions: &Sessions,
    journal: &State<Journal>,
) -> Result<ActResponse> {
    let loaded = seen(session)?;
    sleep(Duration::from_millis(before)).await;
    let mut said = Value::Null;
    match act {
        "read" => {}
        "count" => count(session, visitor, number)?,
        "save" => {
            count(session, visitor, number)?;
            session.save().await?;
        }
        "fail" => {
            count(session, visitor, number)?;
            let failed = Custom(Status::InternalServerError, "as asked");
            return Ok(ActResponse::Failed(failed));
        }
        "push" => {
            sign(session, visitor, number)?;
            notes.push_with("news", visitor, number)?;
        }
        "take" => {
            for note in notes.take_all().await? {
                let pushed: u64 = note.data()?.unwrap_or_default();
                let message = format!("{}.{pushed}", note.message());
                journal.note(&format!("shown {visitor} {message} by {number}"));
            }
        }
        "token" => {
            sign(session, visitor, number)?;
            said = session.create_form_token().into();
        }
        "use" => {
            let accepted = session.remove_form_token(arg).await?;
            if accepted {
                journal.note(&format!("accepted {visitor} {arg} by {number}"));
            }
            said = accepted.into();
        }
        "rotate" => {
            let next = session.rotate_form_token(arg).await?;
            if next.is_some() {
                journal.note(&format!("accepted {visitor} {arg} by {number}"));
            }
            said = next.into();
        }
        "login" => {
            let log_in = session.log_in(arg);
            if number.is_multiple_of(2) {
                log_in.remember(LONG);
            }
            sign(session, visitor, number)?;
        }
        "renew" => session.renew(),
        "forget" => session.set_user(None),
        "clear" => session.clear(),
        "logout" if arg == "handle" => end_by_handle(session, sessions).await?,
        "logout" => session.log_out(),
        "endall" => said = sessions.end_all_of(arg, None).await?.into(),
        "sweep" => said = sessions.delete_old_sessions(60).await?.deleted.into(),
        _ => panic!("there is no such act"),
    }
    sleep(Duration::from_millis(after)).await;
    let left = seen(session)?;
    let report = json!({ "loaded": loaded, "left": left, "said": said });
    Ok(ActResponse::Done(report.to_string()))
}

/// Ends the session of this request as the page "where you are logged in" does.
async fn end_by_handle(session: &Session, sessions: &Sessions) -> Result<()> {
    let user = session.user().unwrap_or_default();
    let places = sessions.of_user(&user).await?;
    match places.iter().find(|place| place.is_current(session)) {
        Some(place) => drop(sessions.end_by(&place.handle()).await?),
        None => session.log_out(),
    }
    Ok(())
}

/// Every session of a visitor that the store lists.
#[get("/dump/<visitor>")]
async fn dump(visitor: &str, sessions: &Sessions) -> Result<String> {
    let mut all = sessions.iter_sessions();
    let mut own = Vec::new();
    while let Some((id, record)) = all.try_next().await? {
        let me: String = record.get("me")?.unwrap_or_default();
        let whose = me.split_once('.').map(|(whose, _)| whose);
        if whose == Some(visitor) || record.user().is_some_and(|user| user == visitor) {
            own.push((id.to_hex(), record));
        }
    }
    let mut entries = Vec::new();
    for (id, record) in &own {
        let indexed = match record.user() {
            Some(user) => sessions.of_user(user).await?.len() == tags(&own, user).len(),
            None => true,
        };
        entries.push(json!({ "id": id, "view": listed(record)?, "indexed": indexed }));
    }
    Ok(Value::Array(entries).to_string())
}

/// Returns the tags of the sessions in which `user` is logged in. Copies of a session have the same.
fn tags(all: &[(String, Record)], user: &str) -> BTreeSet<String> {
    let of_user = all.iter().filter(|(_, record)| record.user() == Some(user));
    let tag = |record: &Record| {
        let record = serde_json::to_value(record).expect("a record has a form in JSON");
        record["tag"].to_string()
    };
    of_user.map(|(_, record)| tag(record)).collect()
}

#[get("/end/<id>")]
async fn end(id: &str, sessions: &Sessions) -> Result<String> {
    let id = id.parse().map_err(|error: Error| error)?;
    Ok(sessions.end(&id).await?.to_string())
}

#[get("/busy/<visitor>")]
fn busy(visitor: &str, busy: &State<Busy>) -> String {
    let counts = busy.lock().expect("no thread panics while it is locked");
    counts.get(visitor).copied().unwrap_or(0).to_string()
}

/// Sets the clock forward or back by a number of seconds.
#[get("/turn/<seconds>")]
fn turn(seconds: i64, clock: &State<Clock>) {
    move_by(clock, seconds);
}

fn move_by(clock: &Clock, seconds: i64) {
    let by = Duration::from_secs(seconds.unsigned_abs());
    match seconds {
        0.. => clock.advance(by),
        _ => clock.set_back(by),
    }
}

/// Launches the application, until it is killed.
pub(super) fn launch() {
    let launched = rocket::execute(rocket().launch());
    launched.expect("the application launches");
}

fn rocket() -> Rocket<Build> {
    let path = std::env::var("SOAK_JOURNAL").expect("the soak test sets the directory");
    let journal = OpenOptions::new().append(true).create(true).open(path);
    let clock = Clock::manual();
    let offset = std::env::var("SOAK_OFFSET").expect("the soak test sets the amount");
    move_by(&clock, offset.parse().expect("it is a number"));
    let ticking = clock.clone();
    thread::spawn(move || {
        let mut last = Instant::now();
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = Instant::now();
            ticking.advance(now - last);
            last = now;
        }
    });
    let busy = Busy::default();
    let counts = busy.clone();
    let counted = AdHoc::on_request("counts what is under way", move |request, _| {
        let path = request.uri().path();
        let mut segments = path.segments();
        if segments.get(0) == Some("do") {
            let visitor = segments.nth(1).unwrap_or_default();
            request.local_cache(|| UnderWay::new(&counts, visitor));
        }
        Box::pin(async {})
    });
    rocket::build()
        .manage(clock)
        .manage(busy)
        .manage(Journal(Mutex::new(journal.expect("it can be made"))))
        .mount("/", routes![act, dump, end, busy, turn])
        .attach(counted)
        .attach(Sessions::fairing())
}
