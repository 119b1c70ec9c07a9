//! The promises of a response with status 200.

use crate::act::{Act, Report, Sent};
use crate::model::Model;
use crate::world::World;

impl Model {
    /// Records the promises of a 200.
    pub(crate) fn acknowledge(&mut self, sent: &Sent, report: &Report, world: &World) {
        let now = self.now;
        // A clock that jumps ahead ends the tombstone of a renewal before its time. A log-out that began
        // before both then finds no session.
        let in_time = !world.renews_by_age || sent.epoch == world.epoch();
        if let Some(known) = report
            .left
            .me
            .as_ref()
            .and_then(|me| self.known.get_mut(me))
        {
            match sent.act {
                Act::Count | Act::Save => drop(known.acked.insert(sent.number, now)),
                Act::Push => drop(known.pushed.insert(sent.number)),
                Act::Login => known.logged_in = Some((sent.arg.clone(), sent.at, now)),
                _ => {}
            }
            let user = match sent.act {
                Act::Login => Some(Some(sent.arg.clone())),
                Act::Forget if report.loaded.me == report.left.me => Some(None),
                _ => None,
            };
            if sent.alone && sent.user_acts == self.user_acts {
                known.expected = user.map(|user| (user, now)).or(known.expected.take());
            }
        }
        match (sent.act, &report.loaded.me) {
            (Act::Push, _) => self.waiting += 1,
            (Act::Take, _) => self.waiting = 0,
            (Act::Token | Act::Rotate, _) => {
                self.tokens.extend(report.said.as_str().map(str::to_owned));
                if self.tokens.len() > 6 {
                    self.tokens.pop_front();
                }
            }
            (Act::Logout, Some(me)) if in_time && self.ends_for_good(me, sent) => {
                self.ended.insert(me.clone(), now);
            }
            (Act::Logout, None) if in_time => self.ended_by_old_cookie(sent),
            (Act::Endall, _) => {
                for (me, known) in &self.known {
                    let Some((user, sent_at, acknowledged_at)) = &known.logged_in else {
                        continue;
                    };
                    // An expired session is not among those that end, and a clock may be set back.
                    if known.epoch != sent.epoch || !self.ends_for_good(me, sent) {
                        continue;
                    }
                    if *user == sent.arg
                        && *acknowledged_at < sent.at
                        && *sent_at == known.login_sent
                    {
                        self.ended_for.insert((me.clone(), user.clone()), now);
                    }
                }
            }
            _ => {}
        }
    }

    /// A log-out had a cookie from before a renewal, whose response was in flight.
    fn ended_by_old_cookie(&mut self, sent: &Sent) {
        for me in self.sessions_of(sent.cookie.as_ref()) {
            let Some(known) = self.known.get(&me) else {
                continue;
            };
            // Only if the tombstone certainly existed: the response arrived a short time ago.
            if known.epoch == sent.epoch
                && known.strayed.is_none()
                && self.jar_of.as_ref() == Some(&me)
                && self.jar != sent.cookie
                && self.ends_for_good(&me, sent)
            {
                self.ended.insert(me, self.now);
            }
        }
    }
}
