//! What was counted in one request, and what its answer says about it.

use std::sync::OnceLock;

use rocket::http::{Header, Status};
use rocket::tokio::sync::Mutex;
use rocket::{Request, Response};

use super::hits::Answer;
use super::policy::Policy;
use crate::config::LimitHeaders;
use crate::dispatch::{self, Active, ActiveRequests};
use crate::error::Result;
use crate::response;

/// What was found when a request was counted.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) policy: Policy,
    pub(super) refused: bool,
    pub(super) remaining: u32,
    /// Milliseconds until more are served.
    pub(super) more_in: u64,
}

impl Count {
    pub(super) fn new(policy: &Policy, answer: &Answer) -> Self {
        Self {
            policy: *policy,
            refused: answer.refused,
            remaining: answer.remaining,
            more_in: answer.more_in,
        }
    }
}

/// Where a request keeps what was counted.
#[derive(Default)]
pub(crate) struct Counts {
    counted: Mutex<Vec<(Policy, Result<Option<Count>>)>>,
    active: OnceLock<Active>,
}

impl Counts {
    /// Returns those of `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        dispatch::state(request)
    }

    /// Returns what `count` found under `policy` when it was first asked in this request.
    pub(super) async fn once(
        &self,
        policy: &Policy,
        active: &ActiveRequests,
        count: impl Future<Output = Result<Option<Count>>>,
    ) -> Result<Option<Count>> {
        let mut counted = self.counted.lock().await;
        if let Some((_, found)) = counted.iter().find(|(there, _)| there == policy) {
            return found.clone();
        }
        self.active.get_or_init(|| active.enter());
        let found = count.await;
        counted.push((*policy, found.clone()));
        found
    }

    /// Says in `response` what was counted, and returns whether the request was refused. A handler
    /// that serves it nevertheless refuses nothing.
    pub(super) fn write_headers(&self, response: &mut Response<'_>, headers: LimitHeaders) -> bool {
        // A task that outlives its handler may be counting still.
        let Ok(counted) = self.counted.try_lock() else {
            return false;
        };
        let counts = counted
            .iter()
            .filter_map(|(_, found)| found.as_ref().ok()?.as_ref());
        let counts: Vec<&Count> = counts.collect();
        // The one that comes first to an end.
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
            // The names have no character that would need an escape.
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
        let told_so = tightest.refused && response.status() == Status::TooManyRequests;
        if told_so {
            // Before each of them has room again, another try would be refused too.
            let used_up = counts.iter().filter(|count| count.remaining == 0);
            let longest = used_up.map(|count| count.more_in).max().unwrap_or(0);
            let seconds = longest.div_ceil(1000).to_string();
            response.set_header(Header::new("Retry-After", seconds));
            response::no_store(response);
        }
        // Beyond the limit of the application no handler ran, whatever its catcher made of it.
        told_so
            || counts
                .iter()
                .any(|count| count.refused && count.policy.is_app())
    }
}
