//! The checks of a visitor's sessions, at any moment and when nothing is in flight.

use std::collections::BTreeSet;

use crate::act::{Entry, Sent, View};
use crate::model::{Broken, Model};

impl Model {
    /// Reports the faults of a session that nothing can excuse.
    pub(crate) fn check(&self, view: &View, broken: &mut Broken) {
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
            broken.push((
                "a change of a failed request was saved".into(),
                view.shown(),
            ));
        }
    }

    /// Reports the faults of a session that a request used.
    pub(crate) fn check_loaded(&self, sent: &Sent, loaded: &View, broken: &mut Broken) {
        let Some(me) = &loaded.me else { return };
        if self.ended.get(me).is_some_and(|at| *at < sent.at) {
            broken.push(("an ended session is alive".into(), loaded.shown()));
        }
        let ended_for = loaded.user.as_ref().and_then(|user| {
            let whose = (me.clone(), user.clone());
            self.ended_for.get(&whose)
        });
        if ended_for.is_some_and(|at| *at < sent.at) {
            let kind = "`end_all_of` left a session alive";
            broken.push((kind.into(), loaded.shown()));
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
        if let Some((user, since)) = &known.expected
            && *since < sent.at
            && *user != loaded.user
        {
            let what = format!("{user:?} is expected in {}", loaded.shown());
            broken.push((
                "an acknowledged log-in or `set_user(None)` is lost".into(),
                what,
            ));
        }
    }

    /// Reports the faults of the sessions that the store lists while no request is in flight.
    pub(crate) fn check_all(&self, listed: &[Entry], epoch: u64, broken: &mut Broken) {
        let mut there = BTreeSet::new();
        for Entry { view, indexed, .. } in listed {
            self.check(view, broken);
            there.extend(view.numbers());
            let is_left_behind = |entry: &Entry| {
                let me = entry.view.me.as_ref();
                // A server may have lost the index, and not the session.
                let known = me.and_then(|me| self.known.get(me));
                known.is_none_or(|known| known.epoch != epoch)
                    || me.is_some_and(|me| self.left_behind.contains(me))
                    || self.strayed(&entry.view).is_some()
            };
            if !indexed && !listed.iter().any(is_left_behind) {
                let kind = "the list of a user is not that of the store";
                broken.push((kind.into(), view.shown()));
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

    /// Returns how a renewal of the session failed, if one did.
    pub(crate) fn strayed(&self, view: &View) -> Option<&'static str> {
        self.known.get(view.me.as_ref()?)?.strayed
    }

    /// Returns whether a renewal of the browser's session was refused.
    pub(crate) fn was_refused_a_renewal(&self) -> bool {
        let known = self.jar_of.as_ref().and_then(|me| self.known.get(me));
        known.is_some_and(|known| known.strayed == Some("was refused"))
    }

    /// Returns whether a session has certainly ended.
    pub(crate) fn has_ended(&self, view: &View) -> bool {
        let Some(me) = &view.me else { return false };
        let user = view.user.as_ref();
        let for_user = user.map(|user| (me.clone(), user.clone()));
        let for_user = for_user.is_some_and(|whose| self.ended_for.contains_key(&whose));
        for_user || self.ended.contains_key(me)
    }

    /// Reports whether the browser lost its session, which opened `now`.
    pub(crate) fn check_jar(
        &self,
        opened: &View,
        listed: &[Entry],
        epoch: u64,
        broken: &mut Broken,
    ) {
        let lost = opened.me.is_none() && !self.overtaken;
        let Some(me) = self.jar_of.as_ref().filter(|_| lost) else {
            return;
        };
        let Some(known) = self.known.get(me) else {
            return;
        };
        let lives = listed
            .iter()
            .any(|entry| entry.view.me.as_ref() == Some(me));
        if !lives
            || known.doomed
            || known.epoch != epoch
            || known.strayed == Some("got no response")
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

    /// Returns the messages that must have been shown, if nothing can have removed them.
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
}
