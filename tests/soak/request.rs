//! A request to an application, and its response.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::act::{Act, CookieChange, Outcome, Report, Sent};
use crate::model::{Broken, Model};
use crate::world::World;

/// Sends a request with the browser's current cookie, and applies the `Set-Cookie` of the response.
pub(crate) fn send(
    world: &World,
    model: &Mutex<Model>,
    act: Act,
    arg: String,
    app: usize,
    delays: &str,
    patience: Option<Duration>,
) {
    let (sent, name) = {
        let mut model = model.lock().unwrap();
        let waits = delays
            .split(['=', '&'])
            .filter_map(|part| part.parse::<u128>().ok());
        let sent = model.send(act, arg, world, waits.sum());
        let cookie = Model::short(sent.cookie.as_ref()).to_owned();
        let given_up = patience.map_or(String::new(), |time| format!(", for {time:?}"));
        let event = format!(
            "{:8} > {} {act:?} {} to {app} with {cookie} {delays}{given_up}",
            world.millis(),
            sent.number,
            sent.arg
        );
        model.note(event);
        (sent, model.name.clone())
    };
    let outcome = call(world, &sent, &name, app, delays, patience);
    finish(world, model, &sent, &outcome);
}

pub(crate) fn call(
    world: &World,
    sent: &Sent,
    name: &str,
    app: usize,
    delays: &str,
    patience: Option<Duration>,
) -> Outcome {
    let (port, number, act) = (world.ports[app], sent.number, sent.act.name());
    let url = format!(
        "http://127.0.0.1:{port}/do/{name}/{number}/{act}?arg={}&{delays}",
        sent.arg
    );
    let mut request = world.agent().get(url);
    if let Some(cookie) = &sent.cookie {
        request = request.header("Cookie", format!("id={cookie}"));
    }
    if let Some(time) = patience {
        request = request.config().timeout_global(Some(time)).build();
    }
    let Ok(mut response) = request.call() else {
        return Outcome::None;
    };
    let status = response.status().as_u16();
    let set = response.headers().get_all("Set-Cookie").iter();
    let cookies: Vec<&str> = set
        .filter_map(|value| value.to_str().ok()?.strip_prefix("id="))
        .collect();
    let cookie_change = match cookies.as_slice() {
        [] => CookieChange::Nothing,
        [one] if one.starts_with(';') => CookieChange::Remove,
        [one] => CookieChange::Set(one.split(';').next().unwrap_or_default().to_owned()),
        _ => panic!("a session has one cookie"),
    };
    // A browser applies the head, even if the rest never arrives.
    let body = response.body_mut().read_to_string().unwrap_or_default();
    let report: Option<Report> = serde_json::from_str(&body).ok();
    Outcome::Response {
        status,
        cookie_change,
        report: report.map(Box::new),
    }
}

pub(crate) fn finish(world: &World, model: &Mutex<Model>, sent: &Sent, outcome: &Outcome) {
    let event = match outcome {
        Outcome::None => "nothing".to_owned(),
        Outcome::Response {
            status,
            cookie_change,
            report,
        } => {
            let cookie_change = match cookie_change {
                CookieChange::Nothing => String::new(),
                CookieChange::Set(cookie) => format!(" sets {}", Model::short(Some(cookie))),
                CookieChange::Remove => " removes".to_owned(),
            };
            let seen = report.as_ref().map_or(String::new(), |report| {
                format!(
                    " loaded {} left {} said {}",
                    report.loaded.shown(),
                    report.left.shown(),
                    report.said
                )
            });
            let counter = if *status == 200 {
                &world.succeeded
            } else {
                &world.refused
            };
            counter.fetch_add(1, Ordering::SeqCst);
            format!("{status}{cookie_change}{seen}")
        }
    };
    let broken = {
        let mut locked = model.lock().unwrap();
        locked.note(format!("{:8} < {} {event}", world.millis(), sent.number));
        locked.receive(sent, outcome, world)
    };
    report(
        world,
        model,
        &format!("by {} {:?}", sent.number, sent.act),
        broken,
    );
}

pub(crate) fn report(world: &World, model: &Mutex<Model>, when: &str, broken: Broken) {
    for (kind, what) in broken {
        world.findings.add(&kind, || {
            let weather = world.weather().join("\n");
            let model = model.lock().unwrap();
            format!(
                "{} {when} at {}: {what}\n{}-- the weather\n{weather}\n",
                model.name,
                world.millis(),
                model.history()
            )
        });
    }
}
