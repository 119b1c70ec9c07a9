//! The counts of one request, and the headers of its response that report them.

use std::sync::OnceLock;

use rocket::http::{Header, Status};
use rocket::tokio::sync::Mutex;
use rocket::{Request, Response};

use super::hits::Decision;
use super::policy::Policy;
use crate::config::LimitHeaders;
use crate::dispatch::{self, Active, ActiveRequests};
use crate::error::Result;
use crate::response;
use crate::store::Key;

/// The result of counting a request under one policy.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) policy: Policy,
    pub(super) refused: bool,
    pub(super) remaining: u32,
    /// Milliseconds until more requests are served than now.
    pub(super) more_in: u64,
}

impl Count {
    pub(super) fn new(policy: &Policy, decision: &Decision) -> Self {
        Self {
            policy: *policy,
            refused: decision.refused,
            remaining: decision.remaining,
            more_in: decision.more_in,
        }
    }
}

/// A count, or the error in its place.
struct Counted {
    policy: Policy,
    /// The key of the application that was counted; `None` is the visitor.
    key: Option<Key>,
    found: Result<Option<Count>>,
}

/// The counts of a request: one for each policy, and one for each key that its handler counted.
#[derive(Default)]
pub(crate) struct Counts {
    counted: Mutex<Vec<Counted>>,
    active: OnceLock<Active>,
}

impl Counts {
    /// Returns the counts of `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        dispatch::state(request)
    }

    /// Returns the request's count under `policy`. The first call obtains it from `count`.
    pub(super) async fn once(
        &self,
        policy: &Policy,
        active: &ActiveRequests,
        count: impl Future<Output = Result<Option<Count>>>,
    ) -> Result<Option<Count>> {
        let mut counted = self.counted.lock().await;
        let mut earlier = counted.iter();
        if let Some(same) = earlier.find(|one| one.key.is_none() && one.policy == *policy) {
            return same.found.clone();
        }
        self.active.get_or_init(|| active.enter());
        let found = count.await;
        counted.push(Counted {
            policy: *policy,
            key: None,
            found: found.clone(),
        });
        found
    }

    /// Notes the count under a key of the application, in the place of an earlier one.
    pub(super) async fn note(&self, key: Key, count: Count, active: &ActiveRequests) {
        self.active.get_or_init(|| active.enter());
        let mut counted = self.counted.lock().await;
        counted.retain(|one| one.key.as_ref() != Some(&key));
        counted.push(Counted {
            policy: count.policy,
            key: Some(key),
            found: Ok(Some(count)),
        });
    }

    /// Forgets the count under a key of the application.
    pub(super) async fn forget(&self, key: &Key) {
        let mut counted = self.counted.lock().await;
        counted.retain(|one| one.key.as_ref() != Some(key));
    }

    /// Writes the counts into `response`, and returns whether the request was refused. It was not
    /// refused if a handler served it in spite of a guard that failed.
    pub(super) fn write_headers(&self, response: &mut Response<'_>, headers: LimitHeaders) -> bool {
        // A task that outlives its handler may still be counting.
        let Ok(counted) = self.counted.try_lock() else {
            return false;
        };
        let counts = counted
            .iter()
            .filter_map(|one| one.found.as_ref().ok()?.as_ref());
        let counts: Vec<&Count> = counts.collect();
        // The limit that is reached first.
        let Some(first) = tightest(&counts) else {
            return false;
        };
        if matches!(headers, LimitHeaders::X | LimitHeaders::Both) {
            for (name, value) in [
                ("X-RateLimit-Limit", first.policy.limit.into()),
                ("X-RateLimit-Remaining", first.remaining.into()),
                ("X-RateLimit-Reset", first.more_in.div_ceil(1000)),
            ] {
                response.set_header(Header::new(name, value.to_string()));
            }
        }
        if matches!(headers, LimitHeaders::Ietf | LimitHeaders::Both) {
            // A policy that counted several keys is shown once.
            let mut shown: Vec<&Count> = Vec::new();
            for count in &counts {
                match shown.iter_mut().find(|one| one.policy == count.policy) {
                    Some(one) => *one = tightest(&[*one, *count]).unwrap_or(*one),
                    None => shown.push(*count),
                }
            }
            let list = |item: fn(&Count) -> String| {
                let items: Vec<String> = shown.iter().map(|count| item(count)).collect();
                items.join(", ")
            };
            // The names contain no character that needs an escape.
            let policies = list(|Count { policy, .. }| {
                format!("\"{}\";q={};w={}", policy.name, policy.limit, policy.window)
            });
            let limits = list(|count| {
                let seconds = count.more_in.div_ceil(1000);
                format!(
                    "\"{}\";r={};t={seconds}",
                    count.policy.name, count.remaining
                )
            });
            response.set_header(Header::new("RateLimit-Policy", policies));
            response.set_header(Header::new("RateLimit", limits));
        }
        let is_refusal = first.refused && response.status() == Status::TooManyRequests;
        if is_refusal {
            // Another try would be refused until none of the limits is used up.
            let used_up = counts.iter().filter(|count| count.remaining == 0);
            let longest = used_up.map(|count| count.more_in).max().unwrap_or(0);
            let seconds = longest.div_ceil(1000).to_string();
            response.set_header(Header::new("Retry-After", seconds));
            response::no_store(response);
        }
        // Beyond the limit of the application no handler ran, whatever the status of the response.
        is_refusal
            || counts
                .iter()
                .any(|count| count.refused && count.policy.is_app())
    }
}

/// Returns the count of the limit that is reached first.
fn tightest<'c>(counts: &[&'c Count]) -> Option<&'c Count> {
    let counts = counts.iter().copied();
    counts.min_by_key(|count| (!count.refused, count.remaining))
}
