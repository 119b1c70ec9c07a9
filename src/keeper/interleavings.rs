//! Two requests of one session, in every order: what one changed and the other did not touch is
//! never lost.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rocket::futures::TryStreamExt;

use super::{Ending, Found, Held, Keeper, Kept, Unsure, Update};
use crate::change::{Change, typed_update};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::id::SessionId;
use crate::notice::Notice;
use crate::record::{Record, write_value};
use crate::session::{Browser, CookieNews, Presented, Session};
use crate::store::{MemoryStore, SessionStore};

/// A change, in a form that can be printed and repeated.
#[derive(Clone, Debug)]
enum Act {
    Insert(u8, i64),
    Remove(u8),
    Increment(u8, i64),
    Append(u8, u8),
    Clear,
}

/// Names `0..3` hold numbers, names `3..5` hold lists, so that no two requests differ about a type.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0_u8..3, -5_i64..5).prop_map(|(name, value)| Act::Insert(name, value)),
        2 => (0_u8..5).prop_map(Act::Remove),
        4 => (0_u8..3, -5_i64..5).prop_map(|(name, by)| Act::Increment(name, by)),
        3 => (3_u8..5, any::<u8>()).prop_map(|(name, item)| Act::Append(name, item)),
        1 => Just(Act::Clear),
    ];
    vec(act, 0..6)
}

impl Act {
    fn change(&self) -> Change {
        match *self {
            Act::Insert(name, value) => {
                Change::Insert(name.to_string(), write_value(&value).expect("it is JSON"))
            }
            Act::Remove(name) => Change::Remove(name.to_string()),
            Act::Increment(name, by) => Change::Increment(name.to_string(), by),
            Act::Append(name, item) => {
                let push = typed_update(move |list: &mut Vec<u8>| list.push(item));
                Change::Update(name.to_string(), push)
            }
            Act::Clear => Change::Clear,
        }
    }

    fn touches(&self, name: u8) -> bool {
        match *self {
            Act::Insert(own, _)
            | Act::Remove(own)
            | Act::Increment(own, _)
            | Act::Append(own, _) => own == name,
            Act::Clear => true,
        }
    }
}

/// One request: it loads, changes what it sees, and saves when its turn comes.
struct Request {
    held: Held,
    view: Record,
    changes: Vec<Change>,
}

impl Request {
    async fn load(keeper: &Keeper, held: &Held) -> Self {
        match keeper.load(&held.id).await.expect("the store works") {
            Found::Live(view, held) => Self {
                held,
                view,
                changes: Vec::new(),
            },
            _ => panic!("the session is there"),
        }
    }

    fn act(&mut self, acts: &[Act], keeper: &Keeper) {
        for act in acts {
            let change = act.change();
            change
                .apply(&mut self.view, &keeper.limits)
                .expect("it is small, and of the right type");
            self.changes.push(change);
        }
    }

    async fn update(self, keeper: &Keeper) -> Result<Kept> {
        let update = Update {
            owner: self.view.user.clone(),
            before: None,
            record: self.view,
            held: self.held,
            changes: &self.changes,
            unsure: &mut Unsure::default(),
        };
        keeper.update(update).await
    }

    async fn save(self, keeper: &Keeper) {
        let kept = self.update(keeper).await;
        assert!(matches!(kept.expect("the store works"), Kept::Here { .. }));
    }
}

/// What a request does about notifications, in a form that can be printed and repeated.
#[derive(Clone, Debug)]
enum Deed {
    Push,
    /// So many of the oldest.
    Take(usize),
    /// The oldest, as the guard does it, and whether somebody looks at it.
    Hand(bool),
    Insert,
    Renew,
    Finish,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => Just(Deed::Push),
        3 => (1_usize..4).prop_map(Deed::Take),
        2 => any::<bool>().prop_map(Deed::Hand),
        1 => Just(Deed::Insert),
        1 => Just(Deed::Renew),
        4 => Just(Deed::Finish),
    ]
}

/// Lets a request end well, and returns its session's new id where its visitor is given one.
async fn finish(session: &Session) -> Option<SessionId> {
    if let Some(CookieNews::Set(id)) = session.finish_at_once(false, Browser::default()) {
        return Some(id);
    }
    let (news, error) = session.finish(false, Browser::default()).await;
    assert!(error.is_none(), "the store works");
    match news {
        CookieNews::Set(id) => Some(id),
        CookieNews::None | CookieNews::Remove | CookieNews::Token => None,
    }
}

type Values = BTreeMap<String, String>;

fn values(record: &Record) -> Values {
    let value = |name: &String| {
        record
            .values
            .get(name)
            .expect("it is there")
            .get()
            .to_owned()
    };
    record
        .keys()
        .into_iter()
        .map(|name| (name.clone(), value(&name)))
        .collect()
}

/// What a request that has the session for itself makes of `record`.
fn alone(record: &Record, acts: &[Act], keeper: &Keeper) -> Record {
    let mut record = record.clone();
    for act in acts {
        act.change()
            .apply(&mut record, &keeper.limits)
            .expect("it is small, and of the right type");
    }
    record
}

fn keeper() -> Keeper {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    Keeper::new(store, Clock::manual(), &Config::default())
}

async fn new_session(keeper: &Keeper, before: &[Act]) -> (Record, Held) {
    let mut record = Record::new(keeper.clock.seconds(), None);
    record.user = Some("alice".into());
    let record = alone(&record, before, keeper);
    match keeper
        .create(SessionId::random(), record, None)
        .await
        .expect("the store works")
    {
        Kept::Here { record, held, .. } => (record, held),
        _ => panic!("it was created"),
    }
}

async fn final_record(keeper: &Keeper, held: &Held) -> Record {
    match keeper.load(&held.id).await.expect("the store works") {
        Found::Live(record, _) => record,
        _ => panic!("the session is there"),
    }
}

proptest! {
    /// Both loaded, both changed, one saved after the other.
    #[test]
    fn two_requests_at_once_are_like_one_after_the_other(
        before in acts(), first in acts(), second in acts(),
    ) {
        let outcome = crate::testing::run(async {
            let keeper = keeper();
            let (start, held) = new_session(&keeper, &before).await;
            let mut one = Request::load(&keeper, &held).await;
            let mut other = Request::load(&keeper, &held).await;
            one.act(&first, &keeper);
            other.act(&second, &keeper);
            one.save(&keeper).await;
            other.save(&keeper).await;
            let expected = alone(&alone(&start, &first, &keeper), &second, &keeper);
            (start, expected, final_record(&keeper, &held).await, keeper)
        });
        let (start, expected, found, keeper) = outcome;
        prop_assert_eq!(values(&found), values(&expected));

        // The promises one by one, said without the order.
        let (own, others) = (values(&alone(&start, &first, &keeper)), values(&alone(&start, &second, &keeper)));
        for name in 0..5 {
            let touched = |acts: &[Act]| acts.iter().any(|act| act.touches(name));
            let name_text = name.to_string();
            let found = values(&found).remove(&name_text);
            if touched(&first) && !touched(&second) {
                prop_assert_eq!(&found, &own.get(&name_text).cloned(), "a change of {} is lost", name);
            }
            if touched(&second) && !touched(&first) {
                prop_assert_eq!(&found, &others.get(&name_text).cloned(), "a change of {} is lost", name);
            }
        }
    }

    /// However many, in whatever order they load and save.
    #[test]
    fn increments_of_many_requests_add_up(
        steps in vec((0_usize..6, 1_i64..100), 1..40),
    ) {
        let (sum, found, removed) = crate::testing::run(async {
            let keeper = keeper();
            let (_, held) = new_session(&keeper, &[Act::Insert(1, 7)]).await;
            // One request takes away another value, which stays away.
            let mut remover = Request::load(&keeper, &held).await;
            remover.act(&[Act::Remove(1)], &keeper);
            let mut open: [Option<Request>; 6] = Default::default();
            let mut sum = 0;
            for (who, by) in steps {
                // Every second step of a request is its save.
                match open[who].take() {
                    None => {
                        let mut request = Request::load(&keeper, &held).await;
                        request.act(&[Act::Increment(0, by)], &keeper);
                        sum += by;
                        open[who] = Some(request);
                    }
                    Some(request) => request.save(&keeper).await,
                }
            }
            remover.save(&keeper).await;
            for request in open.into_iter().flatten() {
                request.save(&keeper).await;
            }
            let found = final_record(&keeper, &held).await;
            (sum, found.get::<i64>("0").expect("it is a number"), found.get::<i64>("1").expect("it is a number"))
        });
        prop_assert_eq!(found.unwrap_or(0), sum);
        prop_assert_eq!(removed, None);
    }

    /// Whoever pushes, takes, renews and saves in whatever order: each notification is shown to one
    /// or waits in one session.
    #[test]
    fn no_notification_is_lost_or_shown_twice(
        logged_in: bool, steps in vec((0_usize..4, deeds()), 1..40),
    ) {
        let (mut found, mut expected) = crate::testing::run(async {
            let keeper = Arc::new(keeper());
            let (_, held) = new_session(&keeper, &[]).await;
            if !logged_in {
                // A session that is nothing but its notifications comes and goes.
                keeper.end(Ending::of(held.id)).await.expect("the store works");
            }
            let (mut newest, mut found, mut expected) = (held.id, Vec::new(), Vec::new());
            let mut open: [Option<Session>; 4] = Default::default();
            for (number, (who, deed)) in steps.iter().enumerate() {
                let Some(session) = &open[*who] else {
                    open[*who] = match keeper.load(&newest).await.expect("the store works") {
                        Found::Live(record, held) => {
                            let presented = Presented::Session { id: held.id, outdated: false };
                            Some(Session::resumed(Arc::clone(&keeper), record, held, presented))
                        }
                        _ => Some(Session::fresh(Arc::clone(&keeper), Presented::Nothing, None)),
                    };
                    continue;
                };
                match deed {
                    Deed::Push => {
                        session.notify(Notice::message("info", &number.to_string())).expect("it is small");
                        expected.push(number.to_string());
                    }
                    Deed::Insert => session.insert("a", number).expect("it is small"),
                    Deed::Renew => session.renew(),
                    Deed::Take(most) => {
                        let pick = |waiting: &[Notice]| Ok(waiting.iter().take(*most).map(|n| n.id).collect());
                        let taken = session.take_notices(pick).await.expect("the store works");
                        found.extend(taken.iter().map(Notice::text));
                    }
                    Deed::Hand(look) => {
                        let pick = |waiting: &[Notice]| Ok(waiting.iter().take(1).map(|n| n.id).collect());
                        for notice in session.take_notices(pick).await.expect("the store works") {
                            let shown = session.hand_out(notice.clone());
                            if *look {
                                shown.note();
                                found.push(notice.text());
                            }
                        }
                    }
                    Deed::Finish => {
                        let session = open[*who].take().expect("it is open");
                        newest = finish(&session).await.unwrap_or(newest);
                    }
                }
            }
            for session in open.iter().flatten() {
                finish(session).await;
            }
            let all: Vec<_> = keeper.store().iter_sessions().try_collect().await.expect("the store lists");
            let all = all.iter().filter_map(|(id, stored)| Record::listed(&stored.bytes, id));
            let waiting = all.flat_map(|record| record.notifications);
            found.extend(waiting.map(|notice| notice.text()));
            (found, expected)
        });
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    /// Whoever loads, changes, ends and saves in whatever order: nothing of a session that ended
    /// is in the next of its token, and nothing of that is lost.
    #[test]
    fn the_sessions_of_a_token_never_mix(
        steps in vec((0_usize..4, 0_u8..6), 1..60),
    ) {
        let (found, expected) = crate::testing::run(async {
            let keeper = Arc::new(keeper());
            let id = SessionId::of_token([7; 16]);
            // How many began, which of them is there, and what it has counted.
            let (mut began, mut there, mut count) = (0, None, 0);
            let mut open: [Option<(Session, Option<i32>, i64)>; 4] = Default::default();
            for (who, deed) in steps {
                let Some((session, of, added)) = &mut open[who] else {
                    let token = Presented::Token(id);
                    open[who] = Some(match keeper.load(&id).await.expect("the store works") {
                        Found::Live(record, held) => {
                            let session = Session::resumed(Arc::clone(&keeper), record, held, token);
                            (session, there, 0)
                        }
                        _ => (Session::fresh(Arc::clone(&keeper), token, None), None, 0),
                    });
                    continue;
                };
                if deed >= 4 {
                    session.end();
                    if of.is_some() && *of == there {
                        (there, count) = (None, 0);
                    }
                    (*of, *added) = (None, 0);
                }
                if deed != 3 && deed != 4 {
                    session.increment("n", 1).expect("it is a number");
                    *added += 1;
                }
                if deed >= 3 {
                    assert_eq!(finish(session).await, None, "no cookie is set");
                    if of.is_none() && there.is_none() && *added > 0 {
                        began += 1;
                        there = Some(began);
                    }
                    if of.is_none() || *of == there {
                        count += *added;
                    }
                    open[who] = None;
                }
            }
            let found = match keeper.load(&id).await.expect("the store works") {
                Found::Live(record, _) => record.get::<i64>("n").expect("it is a number"),
                _ => None,
            };
            (found, there.map(|_| count))
        });
        prop_assert_eq!(found, expected);
    }

    /// An end, wherever it comes among loads and saves, is final.
    #[test]
    fn nothing_is_left_of_a_session_that_ended(
        steps in vec((0_usize..4, acts()), 1..20), end_at in 0_usize..20,
    ) {
        let left = crate::testing::run(async {
            let keeper = keeper();
            let (_, held) = new_session(&keeper, &[]).await;
            let mut open: [Option<Request>; 4] = Default::default();
            let mut ended = HashSet::new();
            for (at, (who, acts)) in steps.iter().enumerate() {
                if at == end_at {
                    keeper.end(Ending::of(held.id)).await.expect("the store works");
                    ended.insert(held.id);
                }
                match open[*who].take() {
                    None if ended.is_empty() => {
                        let mut request = Request::load(&keeper, &held).await;
                        request.act(acts, &keeper);
                        open[*who] = Some(request);
                    }
                    None => {}
                    Some(request) => {
                        let kept = request.update(&keeper).await;
                        let gone = matches!(kept.expect("the store works"), Kept::Gone);
                        assert_eq!(gone, !ended.is_empty());
                    }
                }
            }
            keeper.end(Ending::of(held.id)).await.expect("the store works");
            for request in open.into_iter().flatten() {
                let kept = request.update(&keeper).await;
                assert!(matches!(kept.expect("the store works"), Kept::Gone));
            }
            matches!(keeper.load(&held.id).await.expect("the store works"), Found::Nothing)
                && keeper.store().load_session(&held.id).await.expect("the store works").is_none()
        });
        prop_assert!(left);
    }
}
