//! A visitor: a browser with several requests in flight at once, and its model.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::act::{Act, CookieChange, Entry, Outcome, Sent, View};
use crate::model::{Broken, Model};
use crate::random::Random;
use crate::request::{call, finish, report, send};
use crate::world::World;

/// The number of requests of one visitor that are in flight at once.
const AT_ONCE: usize = 4;

pub(crate) struct Visitor {
    world: Arc<World>,
    name: String,
    /// The number of earlier visitors of this name.
    generation: u32,
    model: Arc<Mutex<Model>>,
    random: Random,
    out: Vec<JoinHandle<()>>,
    /// The acts of this visitor, and how often each is chosen.
    acts: Vec<(Act, u64)>,
}

impl Visitor {
    pub(crate) fn new(world: Arc<World>, name: String, mut random: Random) -> Self {
        Self {
            model: Self::known(&world, format!("{name}g0")),
            world,
            generation: 0,
            name,
            acts: choose(&mut random),
            random,
            out: Vec::new(),
        }
    }

    fn known(world: &World, name: String) -> Arc<Mutex<Model>> {
        let model = Arc::new(Mutex::new(Model::new(name.clone())));
        world.meet(name, model.clone());
        model
    }

    /// Visits until the end of the test.
    pub(crate) fn visit(&mut self) {
        while !self.world.is_over() {
            for _ in 0..self.random.between(2, 6) {
                for _ in 0..self.random.between(8, 40) {
                    self.send_one();
                    if self.world.is_over() {
                        break;
                    }
                }
                self.settle();
            }
            self.leave();
        }
    }

    /// Sends a request, and does not wait for its response.
    fn send_one(&mut self) {
        while self.out.len() >= AT_ONCE {
            self.out.retain(|request| !request.is_finished());
            sleep(Duration::from_millis(2));
        }
        let pause = match self.random.between(0, 9) {
            0..4 => 0,
            4..8 => self.random.between(1, 40),
            _ => self.random.between(40, 400),
        };
        sleep(Duration::from_millis(pause));
        let act = *self.random.weighted(&self.acts);
        let (app, path, patience) = self.details();
        let token = self.random.between(0, 5);
        let again = self.random.percent(60);
        let alternative = self.random.percent(10);

        let (world, model) = (self.world.clone(), self.model.clone());
        let mut locked = self.model.lock().unwrap();
        // Otherwise only messages would wait, and at most 64 of them do.
        let act = if locked.waiting > 25 { Act::Take } else { act };
        let arg = match act {
            Act::Login | Act::Endall if alternative => format!("{}x", locked.name),
            Act::Login | Act::Endall => locked.name.clone(),
            Act::Logout if again => "handle".to_owned(),
            Act::Use | Act::Rotate if locked.tokens.is_empty() => String::new(),
            Act::Use | Act::Rotate => {
                let at = token as usize % locked.tokens.len();
                let token = locked.tokens[at].clone();
                if !again {
                    locked.tokens.remove(at);
                }
                token
            }
            _ => String::new(),
        };
        drop(locked);
        let request = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                let _going = world.stop.read().unwrap();
                send(&world, &model, act, arg, app, &path, patience);
            });
        self.out.push(request.expect("a thread can be started"));
    }

    /// Returns the application to call, the delay of the handler, and the time that the client
    /// waits.
    fn details(&mut self) -> (usize, String, Option<Duration>) {
        let random = &mut self.random;
        let mut slow = || match random.between(0, 19) {
            0..14 => 0,
            14..18 => random.between(1, 60),
            _ => random.between(60, 700),
        };
        let delays = format!("before={}&after={}", slow(), slow());
        let patience = random
            .percent(6)
            .then(|| Duration::from_millis(random.between(2, 80)));
        (usize::from(random.percent(50)), delays, patience)
    }

    /// Waits until no request of this visitor is in flight, and checks the sessions.
    fn settle(&mut self) -> Option<Vec<Entry>> {
        for request in self.out.drain(..) {
            request.join().expect("a request does not panic");
        }
        self.wait_until_idle();
        self.model.lock().unwrap().quiet();
        let epoch = self.world.epoch();
        let (mut listed, mut opened) = (self.dump()?, self.read(None)?);
        for _ in 0..30 {
            let is_whole = opened.me.is_some() && listed.iter().any(|e| e.view.me == opened.me);
            if is_whole || !self.model.lock().unwrap().was_refused_a_renewal() {
                break;
            }
            // A refused renewal is undone in the background. Meanwhile, the session may be under
            // neither id.
            sleep(Duration::from_millis(400));
            (listed, opened) = (self.dump()?, self.read(None)?);
        }
        for _ in 0..10 {
            if listed.iter().all(|entry| entry.indexed) {
                break;
            }
            // A copy that a failed renewal left is deleted in the background.
            sleep(Duration::from_millis(400));
            listed = self.dump()?;
        }
        let mut broken = self.probe(&listed);
        if self.world.epoch() == epoch {
            let model = self.model.lock().unwrap();
            model.check_all(&listed, epoch, &mut broken);
            model.check_jar(&opened, &listed, epoch, &mut broken);
        }
        let messages = self.model.lock().unwrap().messages(&opened, epoch);
        if !messages.is_empty() && self.take()? && self.world.epoch() == epoch {
            self.world.read_journals();
            let name = self.model.lock().unwrap().name.clone();
            let mut lost = messages
                .iter()
                .filter(|message| !self.world.was_shown(&name, message));
            if let Some(message) = lost.next() {
                broken.push(("an acknowledged message is lost".into(), message.clone()));
            }
        }
        let old = self.model.lock().unwrap().old_cookies();
        for _ in 0..3 {
            if let Some(cookie) = self.random.pick(&old).cloned() {
                self.read(Some(cookie))?;
            }
        }
        self.world.settled.fetch_add(1, Ordering::SeqCst);
        let unbroken = broken.is_empty();
        report(
            &self.world,
            &self.model,
            "when nothing was in flight",
            broken,
        );
        unbroken.then_some(listed)
    }

    /// Checks whether sessions that should not be listed are alive. This ends no session that has not
    /// ended.
    fn probe(&mut self, listed: &[Entry]) -> Broken {
        let mut broken = Broken::new();
        for Entry { id, view, .. } in listed {
            let model = self.model.lock().unwrap();
            let is_left_behind = view
                .me
                .as_ref()
                .is_some_and(|me| model.left_behind.contains(me));
            if !model.has_ended(view) || is_left_behind {
                continue;
            }
            drop(model);
            let strayed = self.model.lock().unwrap().strayed(view);
            if strayed.is_some() && self.is_undone(id) {
                continue;
            }
            let lives = self.world.insist(0, &format!("/end/{id}"));
            let kind = match (lives.as_deref(), strayed) {
                (Some("true"), Some(how)) => {
                    format!("a copy of an ended session is alive, of a renewal that {how}")
                }
                (Some("true"), None) => "an ended session is alive".to_owned(),
                _ => "an ended session is listed, though it does not live".to_owned(),
            };
            broken.push((kind, view.shown()));
        }
        broken
    }

    /// Returns whether a session leaves the list by itself: an unconfirmed save is undone in the
    /// background, with up to four seconds between one attempt and the next.
    fn is_undone(&mut self, id: &str) -> bool {
        (0..30).any(|_| {
            sleep(Duration::from_millis(300));
            let listed = self.dump();
            listed.is_some_and(|listed| listed.iter().all(|entry| entry.id != id))
        })
    }

    /// Waits until no application is busy with this visitor, not even with abandoned requests.
    fn wait_until_idle(&self) {
        let path = format!("/busy/{}", self.model.lock().unwrap().name);
        let mut idle = 0;
        while idle < 2 {
            sleep(Duration::from_millis(20));
            let busy = [0, 1].map(|app| self.world.insist(app, &path));
            match busy
                .iter()
                .all(|busy| busy.as_deref().is_none_or(|busy| busy == "0"))
            {
                true => idle += 1,
                false => idle = 0,
            }
        }
    }

    fn dump(&mut self) -> Option<Vec<Entry>> {
        let app = usize::from(self.random.percent(50));
        let path = format!("/dump/{}", self.model.lock().unwrap().name);
        let text = self.world.insist(app, &path)?;
        Some(serde_json::from_str(&text).expect("the visitor sends a cookie"))
    }

    /// Returns the session that a cookie opens, by default the browser's own.
    fn read(&mut self, cookie: Option<String>) -> Option<View> {
        for _ in 0..500 {
            let sent = self.prepare(Act::Read);
            let own = cookie.is_none();
            let sent = match &cookie {
                Some(cookie) => Sent {
                    cookie: Some(cookie.clone()),
                    ..sent
                },
                None => sent,
            };
            let mut outcome = call(
                &self.world,
                &sent,
                &self.name_of(),
                0,
                "before=0&after=0",
                None,
            );
            if let (Outcome::Response { cookie_change, .. }, false) = (&mut outcome, own) {
                // The cookie is not the browser's.
                *cookie_change = CookieChange::Nothing;
            }
            finish(&self.world, &self.model, &sent, &outcome);
            if let Outcome::Response {
                report: Some(report),
                ..
            } = outcome
            {
                return Some(report.loaded);
            }
            sleep(Duration::from_millis(50));
        }
        None
    }

    fn take(&mut self) -> Option<bool> {
        let sent = self.prepare(Act::Take);
        let outcome = call(
            &self.world,
            &sent,
            &self.name_of(),
            1,
            "before=0&after=0",
            None,
        );
        finish(&self.world, &self.model, &sent, &outcome);
        Some(outcome.is_success())
    }

    fn prepare(&self, act: Act) -> Sent {
        let mut model = self.model.lock().unwrap();
        model.send(act, String::new(), &self.world, 0)
    }

    fn name_of(&self) -> String {
        self.model.lock().unwrap().name.clone()
    }

    /// Ends all sessions of this visitor by their ids, and closes the browser.
    fn leave(&mut self) {
        let Some(listed) = self.settle() else {
            return self.begin_anew();
        };
        // `end` finds no session that is past its timeouts, and such a session may still be listed for a while.
        let mut ended = Vec::new();
        for entry in listed {
            let response = self.world.insist(1, &format!("/end/{}", entry.id));
            match response.as_deref() {
                Some("true") => ended.push(entry),
                Some(_) => {}
                None => return,
            }
        }
        self.model.lock().unwrap().end(&ended);
        let Some(left) = self.dump() else { return };
        let alive = left
            .iter()
            .filter(|left| ended.iter().any(|entry| entry.id == left.id));
        let kind = "a session is alive after `Sessions::end`";
        let broken: Broken = alive
            .map(|entry| (kind.to_owned(), entry.view.shown()))
            .collect();
        if !broken.is_empty() {
            report(
                &self.world,
                &self.model,
                "when the browser was closed",
                broken,
            );
            return self.begin_anew();
        }
        self.model.lock().unwrap().forget();
        self.acts = choose(&mut self.random);
    }

    /// After a finding, this visitor's sessions prove nothing more.
    fn begin_anew(&mut self) {
        self.generation += 1;
        let name = format!("{}g{}", self.name, self.generation);
        self.model = Self::known(&self.world, name);
        self.acts = choose(&mut self.random);
    }
}

/// Returns some of the acts, so that an act that removes data does not always hide a loss.
fn choose(random: &mut Random) -> Vec<(Act, u64)> {
    let mut acts = vec![(Act::Read, 12), (Act::Count, 24), (Act::Save, 8)];
    let chosen = std::env::var("SOAK_ACTS").ok();
    let others = [
        (Act::Fail, 3, 60),
        (Act::Push, 8, 60),
        (Act::Take, 5, 60),
        (Act::Token, 5, 60),
        (Act::Use, 8, 60),
        (Act::Rotate, 5, 60),
        (Act::Login, 5, 60),
        (Act::Renew, 5, 60),
        (Act::Forget, 2, 30),
        (Act::Clear, 1, 20),
        (Act::Logout, 3, 40),
        (Act::Endall, 1, 30),
        (Act::Sweep, 1, 50),
    ];
    for (act, weight, chance) in others {
        let name = format!("{act:?}");
        let is_chosen = chosen.as_ref().is_none_or(|chosen| chosen.contains(&name));
        if random.percent(chance) && is_chosen {
            acts.push((act, weight));
        }
    }
    acts
}
