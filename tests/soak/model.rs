//! What one visitor's sessions must be like, by what was acknowledged.
//!
//! A session has a name of its own, `me`, that its first change gives it and that stays when its id
//! changes. The model knows of each what must be in it, and whether something was sent, answered or
//! not, after which nothing need be in it: then it is *doomed*, and still must not do what no session
//! may.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::act::{Act, Entry, News, Outcome, Sent, Told, View};

/// Events of a history.
const REMEMBERED: usize = 40;

/// What is known of one session.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) epoch: u64,
    pub(crate) doomed: bool,
    /// Whether there may be copies of it: two requests renewed it at once, or one got no answer.
    pub(crate) forked: bool,
    /// How a renewal failed, after which the browser may not know where the session went.
    pub(crate) strayed: Option<&'static str>,
    /// Changes that were acknowledged, and when.
    acked: BTreeMap<u64, u64>,
    pushed: BTreeSet<u64>,
    /// Whether messages may be lost, as those that somebody was about to take.
    take_failed: bool,
    renewing: usize,
    users: BTreeSet<String>,
    /// Who must be logged in, and since when that is known.
    expected: Option<(Option<String>, u64)>,
    /// The last log-in that was acknowledged: who, when it was sent, and when answered.
    logged_in: Option<(String, u64, u64)>,
    login_sent: u64,
}

/// What is known of one cookie.
#[derive(Clone, Default)]
struct Crumb {
    sessions: Vec<String>,
    doomed: bool,
}

pub(crate) type Broken = Vec<(String, String)>;

pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) jar: Option<String>,
    /// The session that the last cookie was for.
    pub(crate) jar_of: Option<String>,
    crumbs: HashMap<String, Crumb>,
    pub(crate) known: HashMap<String, Known>,
    /// Sessions that are over for sure, and since when.
    ended: HashMap<String, u64>,
    /// Sessions that are over for a user.
    ended_for: HashSet<(String, String)>,
    failed: BTreeSet<u64>,
    pub(crate) tokens: VecDeque<String>,
    pub(crate) waiting: u64,
    number: u64,
    pub(crate) now: u64,
    user_acts: u64,
    user_acts_out: u64,
    /// Whether a request about the user may still be under way though nobody waits for it.
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
            crumbs: HashMap::new(),
            known: HashMap::new(),
            ended: HashMap::new(),
            ended_for: HashSet::new(),
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

    fn sessions_of(&self, cookie: Option<&String>) -> Vec<String> {
        let crumb = cookie.and_then(|cookie| self.crumbs.get(cookie));
        crumb.map_or_else(Vec::new, |crumb| crumb.sessions.clone())
    }

    /// A request leaves.
    pub(crate) fn send(&mut self, act: Act, arg: String, epoch: u64) -> Sent {
        self.now += 1;
        self.number += 1;
        let sent = Sent {
            number: self.number,
            act,
            arg,
            cookie: self.jar.clone(),
            at: self.now,
            epoch,
            alone: self.user_acts_out == 0 && !self.murky,
            user_acts: self.user_acts + u64::from(act.is_about_the_user()),
        };
        let own = self.sessions_of(sent.cookie.as_ref());
        if act == Act::Fail {
            self.failed.insert(sent.number);
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
            if let Some(crumb) = sent
                .cookie
                .as_ref()
                .and_then(|cookie| self.crumbs.get_mut(cookie))
            {
                crumb.doomed = true;
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
                // Of another user nothing is shown, so that the values go.
                known.doomed |= known.users.len() > 1;
                self.ended_for.remove(&(me.clone(), sent.arg.clone()));
            }
            if act.renews() {
                known.forked |= known.renewing > 0;
                known.renewing += 1;
            }
        }
        sent
    }

    fn doom(&mut self, sessions: &[String]) {
        for me in sessions {
            if let Some(known) = self.known.get_mut(me) {
                known.doomed = true;
            }
        }
    }

    /// An answer arrives, or none does. Returns what it breaks.
    pub(crate) fn answer(&mut self, sent: &Sent, outcome: &Outcome) -> Broken {
        self.now += 1;
        let mut broken = Broken::new();
        let good = outcome.is_good();
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
            if sent.act.renews() {
                known.renewing = known.renewing.saturating_sub(1);
                known.forked |= !good;
                if !good {
                    known.strayed = Some(match outcome {
                        Outcome::Answer { .. } => "was refused",
                        Outcome::None => "got no answer",
                    });
                }
            }
        }
        if let Outcome::Answer { status, news, told } = outcome {
            if let Some(told) = told {
                self.meet(sent, told, &mut broken);
            }
            self.obey(sent, *status, news, told.as_deref(), &mut broken);
            if let Some(told) = told.as_ref().filter(|_| good) {
                self.acknowledge(sent, told, &mut broken);
            }
        }
        if sent.act == Act::Endall {
            self.endalls_out -= u64::from(good);
            self.endall_over = self.now;
        }
        broken
    }

    /// Takes note of the sessions that an answer tells of.
    fn meet(&mut self, sent: &Sent, told: &Told, broken: &mut Broken) {
        for view in [&told.loaded, &told.left] {
            self.check(view, broken);
            let Some(me) = &view.me else { continue };
            let crumb = sent.cookie.as_ref().map(|cookie| {
                let crumb = self.crumbs.entry(cookie.clone()).or_default();
                if view.me == told.loaded.me && !crumb.sessions.contains(me) {
                    crumb.sessions.push(me.clone());
                }
                crumb.doomed
            });
            let ending = self.endalls_out > 0 || sent.at <= self.endall_over;
            let known = self.known.entry(me.clone()).or_insert_with(|| Known {
                epoch: sent.epoch,
                ..Known::default()
            });
            known.doomed |= ending || crumb == Some(true);
            known.users.extend(view.user.clone());
            known.doomed |= known.users.len() > 1;
        }
        let loaded = &told.loaded;
        let Some(me) = &loaded.me else { return };
        if self.ended.get(me).is_some_and(|at| *at < sent.at) {
            broken.push(("an ended session is alive".into(), loaded.shown()));
        }
        let Some(known) = self.known.get(me) else {
            return;
        };
        let usable = !known.doomed && !known.forked && known.renewing == 0;
        if !usable || known.epoch != sent.epoch {
            return;
        }
        let before = known.acked.iter().filter(|(_, at)| **at < sent.at);
        let numbers = loaded.numbers();
        let lost: Vec<&u64> = before
            .map(|(number, _)| number)
            .filter(|n| !numbers.contains(n))
            .collect();
        if !lost.is_empty() {
            broken.push((
                "an acknowledged change is lost".into(),
                format!("{lost:?}, in {}", loaded.shown()),
            ));
        }
        if let Some((user, since)) = &known.expected {
            if *since < sent.at && *user != loaded.user {
                let what = format!("{user:?} is expected in {}", loaded.shown());
                broken.push((
                    "an acknowledged log-in or `set_user(None)` is lost".into(),
                    what,
                ));
            }
        }
    }

    /// Says what is wrong in a session, whatever happened.
    fn check(&self, view: &View, broken: &mut Broken) {
        if !view.adds_up() {
            broken.push(("a change is counted twice, or half".into(), view.shown()));
        }
        let own = |text: &str| text == self.name || text.strip_suffix('x') == Some(&self.name);
        let mut foreign = view
            .owners
            .iter()
            .chain(&view.user)
            .filter(|owner| !own(owner));
        let me = view.me.as_ref().and_then(|me| me.split_once('.'));
        if foreign.next().is_some() || me.is_some_and(|(owner, _)| !own(owner)) {
            broken.push(("another visitor's data".into(), view.shown()));
        }
        if !self.failed.is_disjoint(&view.numbers()) {
            broken.push(("what a failed request did was kept".into(), view.shown()));
        }
    }

    /// The browser's part: cookies, in order of arrival.
    fn obey(
        &mut self,
        sent: &Sent,
        status: u16,
        news: &News,
        told: Option<&Told>,
        broken: &mut Broken,
    ) {
        match news {
            News::Nothing => {}
            News::Set(cookie) => {
                let doomed = sent
                    .cookie
                    .as_ref()
                    .and_then(|own| self.crumbs.get(own))
                    .is_some_and(|own| own.doomed);
                let me = told.and_then(|told| told.left.me.clone());
                let crumb = self.crumbs.entry(cookie.clone()).or_default();
                crumb.doomed |= doomed;
                if let Some(me) = me {
                    if !crumb.sessions.contains(&me) {
                        crumb.sessions.push(me);
                    }
                }
                self.jar_of = crumb.sessions.last().cloned();
                self.jar = Some(cookie.clone());
            }
            News::Remove => {
                let empty = |view: &View| view.me.is_none() && view.user.is_none();
                let emptied = told.is_some_and(|told| empty(&told.left) && !empty(&told.loaded));
                if sent.act == Act::Logout || emptied {
                    self.jar_of = None;
                } else {
                    let opened = match told {
                        Some(told) if !empty(&told.loaded) => "had opened",
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

    /// Takes note of what a 200 promises.
    fn acknowledge(&mut self, sent: &Sent, told: &Told, broken: &mut Broken) {
        let now = self.now;
        if let Some(known) = told.left.me.as_ref().and_then(|me| self.known.get_mut(me)) {
            match sent.act {
                Act::Count | Act::Save => drop(known.acked.insert(sent.number, now)),
                Act::Push => drop(known.pushed.insert(sent.number)),
                Act::Login => known.logged_in = Some((sent.arg.clone(), sent.at, now)),
                _ => {}
            }
            let user = match sent.act {
                Act::Login => Some(Some(sent.arg.clone())),
                Act::Forget if told.loaded.me == told.left.me => Some(None),
                _ => None,
            };
            if sent.alone && sent.user_acts == self.user_acts {
                known.expected = user.map(|user| (user, now)).or(known.expected.take());
            }
        }
        match (sent.act, &told.loaded.me) {
            (Act::Push, _) => self.waiting += 1,
            (Act::Take, _) => self.waiting = 0,
            (Act::Token, _) => {
                self.tokens.extend(told.said.as_str().map(str::to_owned));
                if self.tokens.len() > 6 {
                    self.tokens.pop_front();
                }
            }
            (Act::Logout, Some(me)) => drop(self.ended.insert(me.clone(), now)),
            (Act::Logout, None) => self.ended_by_old_cookie(sent),
            (Act::Endall, _) => {
                for (me, known) in &self.known {
                    let Some((user, sent_at, answered)) = &known.logged_in else {
                        continue;
                    };
                    if *user == sent.arg && *answered < sent.at && *sent_at == known.login_sent {
                        self.ended_for.insert((me.clone(), user.clone()));
                    }
                }
            }
            _ => {}
        }
        if let Some((me, user)) = told.loaded.me.clone().zip(told.loaded.user.clone()) {
            if sent.act == Act::Read && self.ended_for.contains(&(me, user)) {
                broken.push((
                    "`end_all_of` left a session alive".into(),
                    told.loaded.shown(),
                ));
            }
        }
    }

    /// A log-out came with a cookie of before a renewal, whose answer was under way.
    fn ended_by_old_cookie(&mut self, sent: &Sent) {
        for me in self.sessions_of(sent.cookie.as_ref()) {
            let Some(known) = self.known.get(&me) else {
                continue;
            };
            // Only where it is sure that the mark was there: the answer came, and not long ago.
            if known.epoch == sent.epoch
                && known.strayed.is_none()
                && self.jar_of.as_ref() == Some(&me)
                && self.jar != sent.cookie
            {
                self.ended.insert(me, self.now);
            }
        }
    }

    /// Everything that was under way is over.
    pub(crate) fn quiet(&mut self) {
        self.murky = false;
        self.endalls_out = 0;
    }

    /// Says what is wrong with the sessions that the store lists while no request is under way.
    pub(crate) fn check_all(&self, listed: &[Entry], epoch: u64, broken: &mut Broken) {
        let mut there = BTreeSet::new();
        for Entry { view, .. } in listed {
            self.check(view, broken);
            there.extend(view.numbers());
            let Some(me) = &view.me else { continue };
            if self.ended.contains_key(me) {
                broken.push(("an ended session is alive".into(), view.shown()));
            }
            if view
                .user
                .as_ref()
                .is_some_and(|user| self.ended_for.contains(&(me.clone(), user.clone())))
            {
                broken.push(("`end_all_of` left a session alive".into(), view.shown()));
            }
        }
        for (me, known) in &self.known {
            let lost: Vec<&u64> = known
                .acked
                .keys()
                .filter(|number| !there.contains(number))
                .collect();
            if !known.doomed && known.epoch == epoch && !lost.is_empty() {
                let copies = listed
                    .iter()
                    .filter(|entry| entry.view.me.as_ref() == Some(me))
                    .count();
                let strayed = known.strayed.unwrap_or("is none");
                let what = format!("{lost:?} of {me}, copies: {copies}, failed renewal: {strayed}");
                let kind = if copies == 0 {
                    "an acknowledged session is lost"
                } else {
                    "an acknowledged change is lost"
                };
                broken.push((kind.into(), what));
            }
        }
    }

    /// Says whether the browser lost its session, which opened `now`.
    pub(crate) fn check_jar(
        &self,
        opened: &View,
        listed: &[Entry],
        epoch: u64,
        broken: &mut Broken,
    ) {
        let Some(me) = self.jar_of.as_ref().filter(|_| opened.me.is_none()) else {
            return;
        };
        let Some(known) = self.known.get(me) else {
            return;
        };
        let lives = listed
            .iter()
            .any(|entry| entry.view.me.as_ref() == Some(me));
        if !lives || known.doomed || known.epoch != epoch || known.strayed == Some("got no answer")
        {
            return;
        }
        let cookie = self
            .jar
            .as_ref()
            .map_or("no cookie", |_| "a cookie that opens nothing");
        let why = known.strayed.map(|how| format!(", after a renewal {how}"));
        let kind = format!(
            "a browser has {cookie} while its session lives{}",
            why.unwrap_or_default()
        );
        broken.push((kind, me.clone()));
    }

    /// Returns the messages that must have been shown, if nothing can have become of them.
    pub(crate) fn messages(&self, opened: &View, epoch: u64) -> Vec<String> {
        let known = opened.me.as_ref().and_then(|me| self.known.get(me));
        let sure = known.filter(|known| {
            !known.doomed && !known.forked && !known.take_failed && known.epoch == epoch
        });
        let pushed = sure.into_iter().flat_map(|known| &known.pushed);
        pushed
            .map(|number| format!("{}.{number}", self.name))
            .collect()
    }

    /// Somebody ended these sessions by their ids.
    pub(crate) fn end(&mut self, listed: &[Entry]) {
        self.now += 1;
        for me in listed.iter().filter_map(|entry| entry.view.me.as_ref()) {
            self.ended.insert(me.clone(), self.now);
        }
    }

    /// A new browser: nothing is known but what must not come back.
    pub(crate) fn forget(&mut self) {
        (self.jar, self.jar_of) = (None, None);
        self.crumbs.clear();
        self.known.clear();
        self.tokens.clear();
        self.waiting = 0;
    }

    /// Returns a cookie of a session that is over.
    pub(crate) fn old_cookies(&self) -> Vec<String> {
        let over = |crumb: &Crumb| crumb.sessions.iter().any(|me| self.ended.contains_key(me));
        let cookies = self.crumbs.iter().filter(|(_, crumb)| over(crumb));
        cookies.map(|(cookie, _)| cookie.clone()).collect()
    }
}
