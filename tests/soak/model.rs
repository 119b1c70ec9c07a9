//! The model of one visitor's sessions: the state that the acknowledged requests require.
//!
//! A session has a name of its own, `me`. Its first change sets the name, which stays when its id
//! changes. The model holds the required contents of each session. Some requests, sent or acknowledged,
//! may remove these contents: the session is then *doomed*. It still must not break a promise that
//! holds for all sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::act::{Act, CookieChange, Entry, Outcome, Report, Sent, View};
use crate::world::World;

/// Events of a history.
const REMEMBERED: usize = 1_500;

/// The model of one session.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) epoch: u64,
    backs: u64,
    pub(crate) doomed: bool,
    /// Whether a log-out of it or of one of its copies was sent.
    logged_out: bool,
    /// Whether it may have copies: two requests renewed it at once, or a renewal got no response.
    pub(crate) forked: bool,
    /// The failure of a renewal, after which the browser may not know the session's new id.
    pub(crate) strayed: Option<&'static str>,
    /// The acknowledged changes, with their times.
    pub(crate) acked: BTreeMap<u64, u64>,
    pub(crate) pushed: BTreeSet<u64>,
    /// Whether messages may be lost, for example because a request was about to take them.
    pub(crate) take_failed: bool,
    pub(crate) renewing: usize,
    pub(crate) users: BTreeSet<String>,
    /// The user that must be logged in, and since when that is known.
    pub(crate) expected: Option<(Option<String>, u64)>,
    /// The last acknowledged log-in: the user, the time when it was sent, and the time of the response.
    pub(crate) logged_in: Option<(String, u64, u64)>,
    pub(crate) login_sent: u64,
}

/// The model of one cookie.
#[derive(Clone, Default)]
pub(crate) struct CookieTrace {
    sessions: Vec<String>,
    doomed: bool,
    /// Renewals that were sent before the session of the cookie was known.
    renewals: usize,
}

pub(crate) type Broken = Vec<(String, String)>;

pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) jar: Option<String>,
    /// The session that the last cookie was for.
    pub(crate) jar_of: Option<String>,
    /// The time when the cookie arrived, in milliseconds of the world.
    jar_since: u128,
    /// The time when a clear was last sent or acknowledged, in events of this visitor.
    last_clear: u64,
    /// Whether a clear may still be in flight after its client gave up.
    clear_lost: bool,
    /// Whether the cookie replaced a newer one, in a response that the application may have finished
    /// before the newer one was made. The store confirmed the cookie then. No server can prevent that a
    /// response is overtaken in transit.
    pub(crate) overtaken: bool,
    pub(crate) traces: HashMap<String, CookieTrace>,
    /// The cookie that each request was sent with.
    cookies: HashMap<u64, String>,
    pub(crate) known: HashMap<String, Known>,
    /// Sessions that have certainly ended, and since when.
    pub(crate) ended: HashMap<String, u64>,
    /// Sessions that have ended for a user, and since when.
    pub(crate) ended_for: HashMap<(String, String), u64>,
    /// Sessions whose renewal was in flight when an application was killed. Their copy may stay in
    /// the store, under an id that no browser has.
    pub(crate) left_behind: BTreeSet<String>,
    pub(crate) failed: BTreeSet<u64>,
    pub(crate) tokens: VecDeque<String>,
    pub(crate) waiting: u64,
    number: u64,
    pub(crate) now: u64,
    pub(crate) user_acts: u64,
    user_acts_out: u64,
    /// Whether a request about the user may still be in flight after its client gave up.
    murky: bool,
    endalls_out: u64,
    endall_over: u64,
    history: VecDeque<String>,
}

impl Model {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            jar: None,
            jar_of: None,
            jar_since: 0,
            last_clear: 0,
            clear_lost: false,
            overtaken: false,
            traces: HashMap::new(),
            cookies: HashMap::new(),
            known: HashMap::new(),
            ended: HashMap::new(),
            ended_for: HashMap::new(),
            left_behind: BTreeSet::new(),
            failed: BTreeSet::new(),
            tokens: VecDeque::new(),
            waiting: 0,
            number: 0,
            now: 0,
            user_acts: 0,
            user_acts_out: 0,
            murky: false,
            endalls_out: 0,
            endall_over: 0,
            history: VecDeque::new(),
        }
    }

    pub(crate) fn note(&mut self, event: String) {
        self.history.push_back(event);
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
    }

    pub(crate) fn history(&self) -> String {
        self.history
            .iter()
            .map(|event| format!("{event}\n"))
            .collect()
    }

    /// A cookie, as a history shows it.
    pub(crate) fn short(cookie: Option<&String>) -> &str {
        cookie.map_or("-", |cookie| &cookie[cookie.len().saturating_sub(8)..])
    }

    pub(crate) fn sessions_of(&self, cookie: Option<&String>) -> Vec<String> {
        let trace = cookie.and_then(|cookie| self.traces.get(cookie));
        trace.map_or_else(Vec::new, |trace| trace.sessions.clone())
    }

    /// Returns whether a cookie belongs to a session that need not exist any more. Without values it
    /// has no name, so its next change gives it a new one.
    fn is_of_doomed(&self, cookie: Option<&String>) -> bool {
        let Some(trace) = cookie.and_then(|cookie| self.traces.get(cookie)) else {
            return false;
        };
        let mut sessions = trace.sessions.iter().filter_map(|me| self.known.get(me));
        trace.doomed || sessions.any(|known| known.doomed)
    }

    /// A request is sent.
    pub(crate) fn send(&mut self, act: Act, arg: String, world: &World, waits: u128) -> Sent {
        self.now += 1;
        self.number += 1;
        if act == Act::Clear {
            self.last_clear = self.now;
        }
        let sent = Sent {
            number: self.number,
            act,
            renews: act.renews() || world.renews_by_age,
            arg,
            cookie: self.jar.clone(),
            at: self.now,
            handled: world.millis() + waits,
            epoch: world.epoch(),
            backs: world.backs(),
            kills: world.kills(),
            alone: self.user_acts_out == 0 && !self.murky,
            user_acts: self.user_acts + u64::from(act.is_about_the_user()),
        };
        let own = self.sessions_of(sent.cookie.as_ref());
        if let Some(cookie) = &sent.cookie {
            self.cookies.insert(sent.number, cookie.clone());
        }
        if act == Act::Fail {
            self.failed.insert(sent.number);
        }
        if sent.renews
            && own.is_empty()
            && let Some(cookie) = &sent.cookie
        {
            self.traces.entry(cookie.clone()).or_default().renewals += 1;
        }
        if act.is_about_the_user() {
            self.user_acts += 1;
            self.user_acts_out += 1;
            self.known
                .values_mut()
                .for_each(|known| known.expected = None);
        }
        if act.destroys() {
            self.doom(&own);
            if let Some(trace) = sent
                .cookie
                .as_ref()
                .and_then(|cookie| self.traces.get_mut(cookie))
            {
                trace.doomed = true;
            }
        }
        if act == Act::Logout {
            let kin = self.kin(&own);
            self.doom(&kin);
            for me in &kin {
                if let Some(known) = self.known.get_mut(me) {
                    known.logged_out = true;
                }
            }
        }
        if act == Act::Endall {
            self.endalls_out += 1;
            let all: Vec<String> = self.known.keys().cloned().collect();
            self.doom(&all);
        }
        for me in &own {
            let Some(known) = self.known.get_mut(me) else {
                continue;
            };
            if act == Act::Login {
                known.users.insert(sent.arg.clone());
                known.login_sent = sent.at;
                // The data of another user is not shown, so the values are removed.
                known.doomed |= known.users.len() > 1;
                self.ended_for.remove(&(me.clone(), sent.arg.clone()));
            }
            if sent.renews {
                known.forked |= known.renewing > 0;
                known.renewing += 1;
            }
        }
        sent
    }

    /// Returns these sessions and all that began beside them, when a different user logged in: if two
    /// requests renewed the first at once, the others are copies of it, and a log-out ends them all.
    fn kin(&self, sessions: &[String]) -> BTreeSet<String> {
        let mut kin: BTreeSet<String> = sessions.iter().cloned().collect();
        loop {
            let before = kin.len();
            for me in self.known.keys() {
                let beside = self.began_beside(me);
                if kin.contains(me) || beside.iter().any(|other| kin.contains(other)) {
                    kin.extend(beside);
                    kin.insert(me.clone());
                }
            }
            if kin.len() == before {
                return kin;
            }
        }
    }

    /// Returns the sessions of the cookie with which this one began.
    fn began_beside(&self, me: &str) -> Vec<String> {
        let number = me.rsplit('.').next().and_then(|text| text.parse().ok());
        let cookie = number.and_then(|number: u64| self.cookies.get(&number));
        self.sessions_of(cookie)
    }

    fn doom<'a>(&mut self, sessions: impl IntoIterator<Item = &'a String>) {
        for me in sessions {
            if let Some(known) = self.known.get_mut(me) {
                known.doomed = true;
            }
        }
    }

    /// A response arrives, or none does. Returns the broken promises.
    pub(crate) fn receive(&mut self, sent: &Sent, outcome: &Outcome, world: &World) -> Broken {
        self.now += 1;
        let mut broken = Broken::new();
        let good = outcome.is_success();
        if sent.renews && !good && sent.kills != world.kills() {
            let own = self.sessions_of(sent.cookie.as_ref());
            self.left_behind.extend(own);
        }
        if sent.act == Act::Clear {
            self.last_clear = self.now;
            self.clear_lost |= !good;
        }
        if sent.act.is_about_the_user() {
            self.user_acts_out -= 1;
            self.murky |= !good;
        }
        let own = self.sessions_of(sent.cookie.as_ref());
        for me in &own {
            let Some(known) = self.known.get_mut(me) else {
                continue;
            };
            known.take_failed |= sent.act == Act::Take && !good;
            if sent.renews {
                known.renewing = known.renewing.saturating_sub(1);
                known.forked |= !good;
                match outcome {
                    _ if good => {}
                    Outcome::None => known.strayed = Some("got no response"),
                    Outcome::Response { .. } => _ = known.strayed.get_or_insert("was refused"),
                }
            }
        }
        if let Outcome::Response {
            status,
            cookie_change,
            report,
        } = outcome
        {
            if let Some(report) = report {
                self.meet(sent, report, &mut broken);
            }
            self.obey(sent, *status, cookie_change, report.as_deref(), &mut broken);
            if let CookieChange::Set(_) = cookie_change {
                self.jar_since = world.millis();
            }
            if let Some(report) = report.as_ref().filter(|_| good) {
                self.acknowledge(sent, report, world);
            }
        }
        if sent.act == Act::Endall {
            self.endalls_out -= u64::from(good);
            self.endall_over = self.now;
        }
        broken
    }

    /// Records the sessions that a response reports.
    fn meet(&mut self, sent: &Sent, report: &Report, broken: &mut Broken) {
        for view in [&report.loaded, &report.left] {
            self.check(view, broken);
            let Some(me) = &view.me else { continue };
            let is_of_doomed = self.is_of_doomed(sent.cookie.as_ref());
            let mut renewed_unknown = false;
            if let Some(cookie) = &sent.cookie {
                let trace = self.traces.entry(cookie.clone()).or_default();
                if view.me == report.loaded.me && !trace.sessions.contains(me) {
                    trace.sessions.push(me.clone());
                    renewed_unknown = trace.renewals > 0;
                }
            }
            let ending = self.endalls_out > 0 || sent.at <= self.endall_over;
            let kin = self.kin(std::slice::from_ref(me));
            let logged_out = kin
                .iter()
                .filter_map(|me| self.known.get(me))
                .any(|known| known.logged_out);
            let known = self.known.entry(me.clone()).or_insert_with(|| Known {
                epoch: sent.epoch,
                backs: sent.backs,
                ..Known::default()
            });
            known.logged_out |= logged_out;
            known.forked |= renewed_unknown;
            known.doomed |= ending || logged_out || is_of_doomed;
            known.users.extend(view.user.clone());
            known.doomed |= known.users.len() > 1;
        }
        self.check_loaded(sent, &report.loaded, broken);
    }

    /// The browser's part: cookies, in the order of their arrival.
    fn obey(
        &mut self,
        sent: &Sent,
        status: u16,
        cookie_change: &CookieChange,
        report: Option<&Report>,
        broken: &mut Broken,
    ) {
        match cookie_change {
            CookieChange::Nothing => {}
            CookieChange::Set(cookie) => {
                let doomed = self.is_of_doomed(sent.cookie.as_ref());
                let me = report.and_then(|report| report.left.me.clone());
                let trace = self.traces.entry(cookie.clone()).or_default();
                trace.doomed |= doomed;
                if let Some(me) = me
                    && !trace.sessions.contains(&me)
                {
                    trace.sessions.push(me);
                }
                // Any renewal but a log-in may have found the session renewed, and set the same cookie as others.
                self.overtaken = sent.act != Act::Login
                    && sent.cookie.is_some()
                    && sent.cookie != self.jar
                    && sent.handled < self.jar_since;
                self.jar_of = trace.sessions.last().cloned();
                self.jar = Some(cookie.clone());
            }
            CookieChange::Remove => {
                let empty = |view: &View| view.me.is_none() && view.user.is_none();
                // The report shows only values.
                let takes = matches!(sent.act, Act::Clear | Act::Forget | Act::Take | Act::Use);
                // Another request may have removed the rest after the handler read it: the user, or
                // all values.
                let with_another = match sent.act {
                    Act::Clear => true,
                    Act::Forget => self.clear_lost || self.last_clear >= sent.at,
                    _ => false,
                };
                let emptied =
                    takes && report.is_some_and(|report| with_another || empty(&report.left));
                // It ended its own session.
                let ended_all = sent.act == Act::Endall
                    && report.is_some_and(|report| report.said.as_u64() > Some(0));
                if sent.act == Act::Logout || emptied || ended_all {
                    self.jar_of = None;
                } else {
                    let opened = match report {
                        Some(report) if !empty(&report.loaded) => "had opened",
                        _ => "never opened",
                    };
                    let kind = format!(
                        "the cookie is removed by a request that ended nothing and {opened} a session"
                    );
                    broken.push((kind, format!("status {status}")));
                }
                self.jar = None;
            }
        }
    }

    /// Returns whether a log-out of a session ends its copies for good: one that was last used before
    /// the clocks were set back expires later than the tombstone that ends it.
    pub(crate) fn ends_for_good(&self, me: &str, sent: &Sent) -> bool {
        let known = self.known.get(me);
        known.is_none_or(|known| !known.forked || known.backs == sent.backs)
    }

    /// Nothing is in flight any more.
    pub(crate) fn quiet(&mut self) {
        self.murky = false;
        self.clear_lost = false;
        self.endalls_out = 0;
    }

    /// The sessions were ended by their ids.
    pub(crate) fn end(&mut self, listed: &[Entry]) {
        self.now += 1;
        for me in listed.iter().filter_map(|entry| entry.view.me.as_ref()) {
            self.ended.insert(me.clone(), self.now);
        }
    }

    /// A new browser: only the ended sessions are still known.
    pub(crate) fn forget(&mut self) {
        (self.jar, self.jar_of) = (None, None);
        self.traces.clear();
        self.cookies.clear();
        self.known.clear();
        self.tokens.clear();
        self.waiting = 0;
    }

    /// Returns a cookie of a session that has ended.
    pub(crate) fn old_cookies(&self) -> Vec<String> {
        let over =
            |trace: &CookieTrace| trace.sessions.iter().any(|me| self.ended.contains_key(me));
        let cookies = self.traces.iter().filter(|(_, trace)| over(trace));
        cookies.map(|(cookie, _)| cookie.clone()).collect()
    }
}
