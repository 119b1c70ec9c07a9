//! The limiter: whom a request counts for, and whether there is room for it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rocket::{Request, Response};
use sha2::{Digest, Sha256};

use super::address::Proxies;
use super::batches::Batches;
use super::counts::{Count, Counts};
use super::hits::{Answer, Hits, SKEW};
use super::policy::Policy;
use crate::clock::Clock;
use crate::config::{By, LimitHeaders, RateLimitConfig, WhenUncounted};
use crate::dispatch::ActiveRequests;
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::guard;
use crate::secret_key::secret_key;
use crate::store::bounded::Bounds;
use crate::store::{Key, KeyValue, Namespace};

/// Counts requests by the rules of the configuration.
pub(crate) struct Limiter {
    bounds: Arc<Bounds>,
    clock: Clock,
    store: Arc<dyn KeyValue>,
    namespace: Namespace,
    /// The limit for the whole application, if there is one.
    app: Option<Policy>,
    headers: LimitHeaders,
    when_store_is_down: WhenUncounted,
    proxies: Proxies,
    batches: Batches,
    /// Hides visitors in the names of keys. Made when the rocket is about to lift off.
    secret: OnceLock<[u8; 32]>,
    /// How many requests were counted and are not answered yet.
    active: ActiveRequests,
}

impl Limiter {
    /// Returns the limiter that `config` asks for, which counts in `store`.
    ///
    /// # Errors
    ///
    /// When a setting cannot work.
    pub(crate) fn new(
        bounds: Arc<Bounds>,
        clock: Clock,
        store: Arc<dyn KeyValue>,
        config: &RateLimitConfig,
        active: ActiveRequests,
    ) -> Result<Self> {
        let app = Policy {
            name: Policy::APP,
            limit: config.limit,
            window: config.window,
            by: config.by,
        };
        Ok(Self {
            bounds,
            clock,
            store,
            namespace: Namespace::new("rate")?,
            app: (config.limit > 0).then_some(app),
            headers: config.headers,
            when_store_is_down: config.when_store_is_down,
            proxies: Proxies::new(config)?,
            batches: Batches::default(),
            secret: OnceLock::new(),
            active,
        })
    }

    /// Returns the limiter of the application that answers `request`.
    pub(super) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(no_store)
    }

    /// Learns the secret that visitors are hidden with: one that all processes of an application
    /// share.
    pub(super) fn learn_key(&self, rocket: &rocket::Config) {
        let mut hash = Sha256::new_with_prefix("rocket_session_kit: visitors of a rate limit");
        hash.update(secret_key(rocket));
        // A rocket can be launched again, with the same key.
        let _ = self.secret.set(hash.finalize().into());
    }

    /// Counts `request` for the limit of the whole application, if there is one.
    pub(super) async fn count_for_app(&self, request: &Request<'_>) -> Result<Option<Count>> {
        match &self.app {
            Some(app) => self.count(request, app).await,
            None => Ok(None),
        }
    }

    /// Counts `request` under `policy`, once, and returns what was found; nothing, where it cannot
    /// be counted and is to be served all the same.
    ///
    /// # Errors
    ///
    /// When it cannot be counted, and is not to be served then.
    pub(super) async fn count(
        &self,
        request: &Request<'_>,
        policy: &Policy,
    ) -> Result<Option<Count>> {
        let count = async {
            let key = self.key(request, policy).await;
            let together = |requests| self.hit(&key, policy, requests);
            match self.batches.count(&key, policy, together).await {
                Ok(count) => Ok(Some(count)),
                Err(_) if self.when_store_is_down == WhenUncounted::Allow => Ok(None),
                Err(error) => {
                    StoreWasDown::note(request);
                    Err(error)
                }
            }
        };
        Counts::of(request).once(policy, &self.active, count).await
    }

    /// Says in `response` what was counted, and returns whether the request was refused.
    pub(super) fn write_headers(&self, request: &Request<'_>, response: &mut Response<'_>) -> bool {
        Counts::of(request).write_headers(response, self.headers)
    }

    /// Returns the key under which the sender of `request` is counted. It tells nobody who that is:
    /// an address by itself would be found in its hash by trying all there are.
    async fn key(&self, request: &Request<'_>, policy: &Policy) -> Key {
        let settled = match policy.by {
            // A store that is down, so that it cannot be told, was logged.
            By::Session => guard::session(request).await.ok(),
            By::Address => None,
        };
        let visitor = match settled.and_then(|session| session.settled_tag(policy.window)) {
            Some(tag) => format!("session {tag}"),
            None => match self.proxies.sender(request) {
                Some(address) => format!("address {address}"),
                None => "nowhere".to_owned(),
            },
        };
        let mut hash = Sha256::new_with_prefix(self.secret.get().unwrap_or(&[0; 32]));
        hash.update(format!("{} {visitor}", policy.name));
        let hidden: [u8; 32] = hash.finalize().into();
        let name: String = hidden[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.namespace.key(name)
    }

    /// Adds `requests` to those under `key`, as far as there is room: reads what is there, and keeps
    /// it with them if nobody else came first, in which case it does so again. Returns what each of
    /// them found.
    ///
    /// Where other processes always come first, all of them are refused: a store that answers is not
    /// one that is down.
    async fn hit(&self, key: &Key, policy: &Policy, requests: usize) -> Result<Vec<Count>> {
        const ACT: &str = "count a request";
        let started = Instant::now();
        let patience = self.bounds.patience();
        let window = policy.window.saturating_mul(1000);
        // As long as it can matter, by a clock that may differ from ours.
        let ttl = Duration::from_millis(window.saturating_add(window / 1000 + SKEW));
        while started.elapsed() <= patience {
            let there = self.bounds.call(ACT, self.store.get(key)).await?;
            let now = self.clock.millis();
            let mut hits = Hits::read(there.as_deref(), now, window);
            let mut add = || hits.add(now, policy.limit, window);
            let answers: Vec<Answer> = (0..requests).map(|_| add()).collect();
            // What is refused is not counted.
            let none = answers.iter().all(|answer| answer.refused);
            let kept = none || {
                let hits = hits.write();
                let keeping = self.store.swap(key, there.as_deref(), &hits, Some(ttl));
                self.bounds.call(ACT, keeping).await?
            };
            if kept {
                let counts = answers.iter().map(|answer| Count::new(policy, answer));
                return Ok(counts.collect());
            }
        }
        log::warn!(
            "the requests of one visitor could not be counted, for too many processes count them at once; they were refused"
        );
        let refused = Count {
            policy: *policy,
            refused: true,
            remaining: 0,
            more_in: 1000,
        };
        Ok(vec![refused; requests])
    }
}

/// What is said where no store can count.
pub(crate) fn no_store() -> Error {
    let why = "the store of the sessions keeps nothing else; set `sessions.rate_limit.store`, or \
               give your store a `key_value`";
    Error::new(ErrorKind::Config, "limit requests").because(why)
}
