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

/// The counts of a request, one for each policy.
#[derive(Default)]
pub(crate) struct Counts {
    counted: Mutex<Vec<(Policy, Result<Option<Count>>)>>,
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
        if let Some((_, found)) = counted.iter().find(|(counted, _)| counted == policy) {
            return found.clone();
        }
        self.active.get_or_init(|| active.enter());
        let found = count.await;
        counted.push((*policy, found.clone()));
        found
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
            .filter_map(|(_, found)| found.as_ref().ok()?.as_ref());
        let counts: Vec<&Count> = counts.collect();
        // The limit that is reached first.
        let Some(tightest) = counts
            .iter()
            .min_by_key(|count| (!count.refused, count.remaining))
        else {
            return false;
        };
        if matches!(headers, LimitHeaders::X | LimitHeaders::Both) {
            for (name, value) in [
                ("X-RateLimit-Limit", tightest.policy.limit.into()),
                ("X-RateLimit-Remaining", tightest.remaining.into()),
                ("X-RateLimit-Reset", tightest.more_in.div_ceil(1000)),
            ] {
                response.set_header(Header::new(name, value.to_string()));
            }
        }
        if matches!(headers, LimitHeaders::Ietf | LimitHeaders::Both) {
            let list = |item: fn(&Count) -> String| {
                let items: Vec<String> = counts.iter().map(|count| item(count)).collect();
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
        let is_refusal = tightest.refused && response.status() == Status::TooManyRequests;
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
