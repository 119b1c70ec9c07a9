//! Tests of concurrent requests in every order: no change is lost.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rocket::futures::TryStreamExt;

use super::{CommitOutcome, EndTarget, Presented, SessionManager, Unanswered, Update, Version};
use crate::change::{Change, typed_update};
use crate::clock::Clock;
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::{Record, write_value};
use crate::session::{Browser, CookieAction, Credential, Session};
use crate::store::{MemoryStore, SessionStore};

/// A change that can be printed and repeated.
#[derive(Clone, Debug)]
enum Act {
    Insert(u8, i64),
    Remove(u8),
    Increment(u8, i64),
    Append(u8, u8),
    Clear,
}

/// The names `0..3` hold numbers and `3..5` hold lists, so that no two requests differ in a type.
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

/// One request: it loads the session, changes its view, and saves it later.
struct Request {
    version: Version,
    view: Record,
    changes: Vec<Change>,
}

impl Request {
    async fn load(manager: &SessionManager, version: &Version) -> Self {
        match manager.load(&version.id).await.expect("the store works") {
            Presented::Live(view, version) => Self {
                version,
                view,
                changes: Vec::new(),
            },
            _ => panic!("the session is there"),
        }
    }

    fn act(&mut self, acts: &[Act], manager: &SessionManager) {
        for act in acts {
            let change = act.change();
            change
                .apply(&mut self.view, &manager.limits)
                .expect("it is small, and of the right type");
            self.changes.push(change);
        }
    }

    async fn update(self, manager: &SessionManager) -> Result<CommitOutcome> {
        let update = Update {
            owner: self.view.user.clone(),
            before: None,
            adopts: false,
            record: self.view,
            version: self.version,
            changes: &self.changes,
            unanswered: &mut Unanswered::default(),
        };
        manager.update(update).await
    }

    async fn save(self, manager: &SessionManager) {
        let outcome = self.update(manager).await;
        assert!(matches!(
            outcome.expect("the store works"),
            CommitOutcome::Committed { .. }
        ));
    }
}

/// An act of a request on notifications that can be printed and repeated.
#[derive(Clone, Debug)]
enum Deed {
    Push,
    /// Takes this many of the oldest.
    Take(usize),
    /// Takes the oldest as the guard does. The flag is whether it is read.
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

/// Finishes a request without an error, and returns the session's new id if a cookie is set.
async fn finish(session: &Session) -> Option<SessionId> {
    if let Some(CookieAction::Set(id)) = session.finish_at_once(false, Browser::default()) {
        return Some(id);
    }
    let (cookie_action, error) = session.finish(false, Browser::default()).await;
    assert!(error.is_none(), "the store works");
    match cookie_action {
        CookieAction::Set(id) => Some(id),
        CookieAction::None | CookieAction::Remove | CookieAction::Token => None,
    }
}

type Values = BTreeMap<String, String>;

fn values(record: &Record) -> Values {
    let value = |name: &String| record.values.get(name).expect("it is there").to_owned();
    record
        .keys()
        .into_iter()
        .map(|name| (name.clone(), value(&name)))
        .collect()
}

/// Makes the changes of `acts` to `record`, as a request without concurrent ones does.
fn alone(record: &Record, acts: &[Act], manager: &SessionManager) -> Record {
    let mut record = record.clone();
    for act in acts {
        act.change()
            .apply(&mut record, &manager.limits)
            .expect("it is small, and of the right type");
    }
    record
}

fn manager() -> SessionManager {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    SessionManager::with_defaults(store, Clock::manual())
}

async fn new_session(manager: &SessionManager, before: &[Act]) -> (Record, Version) {
    let mut record = Record::new(manager.clock.seconds(), None);
    record.user = Some("alice".into());
    let record = alone(&record, before, manager);
    match manager
        .create_listed(SessionId::random(), record, None, None)
        .await
        .expect("the store works")
    {
        CommitOutcome::Committed {
            record, version, ..
        } => (record, version),
        _ => panic!("it was created"),
    }
}

async fn final_record(manager: &SessionManager, version: &Version) -> Record {
    match manager.load(&version.id).await.expect("the store works") {
        Presented::Live(record, _) => record,
        _ => panic!("the session is there"),
    }
}

proptest! {
    /// Both requests load the session and change it. One saves after the other.
    #[test]
    fn concurrent_requests_have_the_effect_of_a_sequence(
        before in acts(), first in acts(), second in acts(),
    ) {
        let outcome = crate::testing::run(async {
            let manager = manager();
            let (start, version) = new_session(&manager, &before).await;
            let mut one = Request::load(&manager, &version).await;
            let mut other = Request::load(&manager, &version).await;
            one.act(&first, &manager);
            other.act(&second, &manager);
            one.save(&manager).await;
            other.save(&manager).await;
            let expected = alone(&alone(&start, &first, &manager), &second, &manager);
            (start, expected, final_record(&manager, &version).await, manager)
        });
        let (start, expected, found, manager) = outcome;
        prop_assert_eq!(values(&found), values(&expected));

        // Each promise by itself, whatever the order.
        let (own, others) = (values(&alone(&start, &first, &manager)), values(&alone(&start, &second, &manager)));
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

    /// Many requests load and save in any order.
    #[test]
    fn concurrent_increments_of_many_requests_add_up(
        steps in vec((0_usize..6, 1_i64..100), 1..40),
    ) {
        let (sum, found, removed) = crate::testing::run(async {
            let manager = manager();
            let (_, version) = new_session(&manager, &[Act::Insert(1, 7)]).await;
            // One request removes another value, which stays removed.
            let mut remover = Request::load(&manager, &version).await;
            remover.act(&[Act::Remove(1)], &manager);
            let mut open: [Option<Request>; 6] = Default::default();
            let mut sum = 0;
            for (who, by) in steps {
                // Every second step of a request is its save.
                match open[who].take() {
                    None => {
                        let mut request = Request::load(&manager, &version).await;
                        request.act(&[Act::Increment(0, by)], &manager);
                        sum += by;
                        open[who] = Some(request);
                    }
                    Some(request) => request.save(&manager).await,
                }
            }
            remover.save(&manager).await;
            for request in open.into_iter().flatten() {
                request.save(&manager).await;
            }
            let found = final_record(&manager, &version).await;
            (sum, found.get::<i64>("0").expect("it is a number"), found.get::<i64>("1").expect("it is a number"))
        });
        prop_assert_eq!(found.unwrap_or(0), sum);
        prop_assert_eq!(removed, None);
    }

    /// Requests push, take, renew and save in any order: each notification is shown once or still
    /// waits in one session.
    #[test]
    fn no_notification_is_lost_or_shown_twice(
        logged_in: bool, steps in vec((0_usize..4, deeds()), 1..40),
    ) {
        let (mut found, mut expected) = crate::testing::run(async {
            let manager = Arc::new(manager());
            let (_, version) = new_session(&manager, &[]).await;
            if !logged_in {
                // A session with nothing but notifications comes and goes.
                manager.end(EndTarget::new(version.id)).await.expect("the store works");
            }
            let (mut newest, mut found, mut expected) = (version.id, Vec::new(), Vec::new());
            let mut open: [Option<Session>; 4] = Default::default();
            for (number, (who, deed)) in steps.iter().enumerate() {
                let Some(session) = &open[*who] else {
                    open[*who] = match manager.load(&newest).await.expect("the store works") {
                        Presented::Live(record, version) => {
                            let credential = Credential::Session { id: version.id, outdated: false, moved: false };
                            Some(Session::resumed(Arc::clone(&manager), record, version, credential))
                        }
                        _ => Some(Session::fresh(Arc::clone(&manager), Credential::Nothing, None)),
                    };
                    continue;
                };
                match deed {
                    Deed::Push => {
                        session.notify(StoredMessage::queued("info", &number.to_string())).expect("it is small");
                        expected.push(number.to_string());
                    }
                    Deed::Insert => session.insert("a", number).expect("it is small"),
                    Deed::Renew => session.renew(),
                    Deed::Take(most) => {
                        let pick = |waiting: &[StoredMessage]| Ok(waiting.iter().take(*most).map(|n| n.id).collect());
                        let taken = session.take_messages(pick).await.expect("the store works");
                        found.extend(taken.iter().map(StoredMessage::text));
                    }
                    Deed::Hand(look) => {
                        let pick = |waiting: &[StoredMessage]| Ok(waiting.iter().take(1).map(|n| n.id).collect());
                        for message in session.take_messages(pick).await.expect("the store works") {
                            let shown = session.hand_out(message.clone());
                            if *look {
                                shown.note();
                                found.push(message.text());
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
            let all: Vec<_> = manager.store().iter_sessions().try_collect().await.expect("the store lists");
            let all = all.into_iter();
            let all = all.filter_map(|(id, stored)| Record::listed(stored.bytes, &id));
            let waiting = all.flat_map(|record| record.notifications);
            found.extend(waiting.map(|message| message.text()));
            (found, expected)
        });
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    /// Requests load, change, end and save in any order: the next session of a token has no value
    /// of an ended one, and loses none of its own.
    #[test]
    fn the_sessions_of_a_token_never_mix(
        steps in vec((0_usize..4, 0_u8..6), 1..60),
    ) {
        let (found, expected) = crate::testing::run(async {
            let manager = Arc::new(manager());
            let id = SessionId::of_token([7; 16]);
            // The number of sessions that began, the present one, and its count.
            let (mut began, mut there, mut count) = (0, None, 0);
            let mut open: [Option<(Session, Option<i32>, i64)>; 4] = Default::default();
            for (who, deed) in steps {
                let Some((session, of, added)) = &mut open[who] else {
                    let token = Credential::Token(id);
                    open[who] = Some(match manager.load(&id).await.expect("the store works") {
                        Presented::Live(record, version) => {
                            let session = Session::resumed(Arc::clone(&manager), record, version, token);
                            (session, there, 0)
                        }
                        _ => (Session::fresh(Arc::clone(&manager), token, None), None, 0),
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
            let found = match manager.load(&id).await.expect("the store works") {
                Presented::Live(record, _) => record.get::<i64>("n").expect("it is a number"),
                _ => None,
            };
            (found, there.map(|_| count))
        });
        prop_assert_eq!(found, expected);
    }

    /// An end at any point among loads and saves is final, also while its reason stays.
    #[test]
    fn an_ended_session_leaves_nothing_behind(
        steps in vec((0_usize..4, acts()), 1..20), end_at in 0_usize..20,
        reason in select(vec![EndReason::LoggedOut, EndReason::EndedElsewhere]),
    ) {
        let left = crate::testing::run(async {
            let manager = manager();
            let (_, version) = new_session(&manager, &[]).await;
            let end = EndTarget { reason, ..EndTarget::new(version.id) };
            let mut open: [Option<Request>; 4] = Default::default();
            let mut ended = HashSet::new();
            for (at, (who, acts)) in steps.iter().enumerate() {
                if at == end_at {
                    manager.end(end).await.expect("the store works");
                    ended.insert(version.id);
                }
                match open[*who].take() {
                    None if ended.is_empty() => {
                        let mut request = Request::load(&manager, &version).await;
                        request.act(acts, &manager);
                        open[*who] = Some(request);
                    }
                    None => {}
                    Some(request) => {
                        let outcome = request.update(&manager).await;
                        let gone = matches!(outcome.expect("the store works"), CommitOutcome::Ended);
                        assert_eq!(gone, !ended.is_empty());
                    }
                }
            }
            manager.end(end).await.expect("the store works");
            for request in open.into_iter().flatten() {
                let outcome = request.update(&manager).await;
                assert!(matches!(outcome.expect("the store works"), CommitOutcome::Ended));
            }
            let left = manager.store().load_session(&version.id).await.expect("the store works");
            match manager.load(&version.id).await.expect("the store works") {
                Presented::Missing => left.is_none(),
                Presented::Ended(shown) => shown == Some(reason) && reason.is_news(),
                _ => false,
            }
        });
        prop_assert!(left);
    }
}
