//! The limiter: counts a request of a visitor, and decides whether it is served.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rocket::{Request, Response};
use sha2::{Digest, Sha256};

use super::address::network_of;
use super::batches::Batches;
use super::counts::{Count, Counts};
use super::hits::{Decision, Hits, SKEW};
use super::limit::{self, Limit};
use super::policy::Policy;
use crate::clock::Clock;
use crate::config::{By, LimitHeaders, NamedLimit, RateLimitConfig, WhenUncounted};
use crate::dispatch::{self, ActiveRequests};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::events::{EventKind, SessionEvent};
use crate::guard;
use crate::proxies::Proxies;
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
    /// The limits in `Rocket.toml`, by their names.
    named: BTreeMap<String, NamedLimit>,
    /// The names of the limits that guards of routes have.
    in_use: Mutex<Vec<&'static str>>,
    headers: LimitHeaders,
    when_store_is_down: WhenUncounted,
    proxies: Arc<Proxies>,
    batches: Batches,
    /// Keeps the names of keys from revealing visitors. It is set at launch.
    secret: OnceLock<[u8; 32]>,
    /// The requests that were counted and have no response yet.
    active: ActiveRequests,
}

impl Limiter {
    /// Returns the limiter that `config` describes, which counts in `store`.
    ///
    /// # Errors
    ///
    /// When a setting is invalid.
    pub(crate) fn new(
        bounds: Arc<Bounds>,
        clock: Clock,
        store: Arc<dyn KeyValue>,
        config: &RateLimitConfig,
        proxies: Arc<Proxies>,
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
            named: config.named.clone(),
            in_use: Mutex::default(),
            headers: config.headers,
            when_store_is_down: config.when_store_is_down,
            proxies,
            batches: Batches::default(),
            secret: OnceLock::new(),
            active,
        })
    }

    /// Returns the limiter of the application that handles `request`.
    pub(super) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(no_store)
    }

    /// Derives the secret for the names of keys from Rocket's secret key, which all processes of an
    /// application share.
    pub(super) fn learn_key(&self, rocket: &rocket::Config) {
        let mut hash = Sha256::new_with_prefix("rocket_session_kit: visitors of a rate limit");
        hash.update(secret_key(rocket));
        // An application can be launched again, with the same key.
        let _ = self.secret.set(hash.finalize().into());
    }

    /// Returns the policy of the limit `L`.
    ///
    /// # Errors
    ///
    /// When neither the code nor `Rocket.toml` has its numbers.
    pub(super) fn policy<L: Limit>(&self) -> Result<Policy> {
        limit::policy::<L>(self.named.get(L::NAME))
    }

    /// Notes that a guard of a route has the limit `name`.
    pub(super) fn note_in_use(&self, name: &'static str) {
        self.in_use.lock().push(name);
    }

    /// Logs a warning for each table of a limit that no guard of a route has.
    pub(super) fn warn_of_unused_tables(&self) {
        let in_use = self.in_use.lock();
        for name in self.named.keys().filter(|name| !in_use.contains(&&***name)) {
            log::warn!(
                "`sessions.rate_limit.named.{name}` is set, and no guard of a route has a limit with this \
                 name; correct the name, unless a guard of your own asks for the limit"
            );
        }
    }

    /// Counts `request` for the limit of the whole application, if there is one.
    pub(super) async fn count_for_app(&self, request: &Request<'_>) -> Result<Option<Count>> {
        match &self.app {
            Some(app) => self.count(request, app).await,
            None => Ok(None),
        }
    }

    /// Counts `request` under `policy`, once. Returns `None` if it cannot be counted, and the
    /// configuration says that such requests are served.
    ///
    /// # Errors
    ///
    /// When it cannot be counted, and the configuration says that such requests are refused.
    pub(super) async fn count(
        &self,
        request: &Request<'_>,
        policy: &Policy,
    ) -> Result<Option<Count>> {
        let count = async {
            let key = self.visitor_key(request, policy).await;
            let counted = self.count_under(&key, policy, self.client(request)).await;
            counted.inspect_err(|_| StoreWasDown::note(request))
        };
        Counts::of(request).once(policy, &self.active, count).await
    }

    /// Counts an attempt under a key of the application, and notes the count in `counts`.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count).
    pub(super) async fn count_key(
        &self,
        counts: &Counts,
        policy: &Policy,
        key: &[u8],
        address: Option<IpAddr>,
    ) -> Result<Option<Count>> {
        let key = self.key(policy, "key ", key);
        let count = self.count_under(&key, policy, address).await?;
        if let Some(count) = count {
            counts.note(key, count, &self.active).await;
        }
        Ok(count)
    }

    /// Forgets the attempts under a key of the application, and their count in `counts`.
    ///
    /// # Errors
    ///
    /// When the store fails, and the configuration says that requests are then refused.
    pub(super) async fn reset_key(
        &self,
        counts: &Counts,
        policy: &Policy,
        key: &[u8],
    ) -> Result<()> {
        let key = self.key(policy, "key ", key);
        let removing = self.store.remove(&key);
        let reset = self.bounds.call("reset a rate limit", removing).await;
        counts.forget(&key).await;
        match reset {
            // The failure is in the log.
            Err(error) if self.when_store_is_down == WhenUncounted::Refuse => Err(error),
            _ => Ok(()),
        }
    }

    /// Counts a request of the client at `address` under `key`.
    async fn count_under(
        &self,
        key: &Key,
        policy: &Policy,
        address: Option<IpAddr>,
    ) -> Result<Option<Count>> {
        let batch = |requests| self.count_batch(key, policy, requests);
        match self.batches.count(key, policy, batch).await {
            Ok(count) => {
                self.report(&count, address);
                Ok(Some(count))
            }
            Err(_) if self.when_store_is_down == WhenUncounted::Allow => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells the listeners if `count` refuses a request of the client at `address`.
    fn report(&self, count: &Count, address: Option<IpAddr>) {
        if count.refused {
            let limit = count.policy.name;
            let event = SessionEvent::new(EventKind::RateLimited { limit });
            self.bounds
                .heard_by()
                .tell(SessionEvent { address, ..event });
        }
    }

    /// Writes the limits of `request` into `response`, and returns whether the request was refused.
    pub(super) fn write_headers(&self, request: &Request<'_>, response: &mut Response<'_>) -> bool {
        dispatch::existing::<Counts>(request)
            .is_some_and(|counts| counts.write_headers(response, self.headers))
    }

    /// Returns the address that `request` comes from.
    pub(super) fn client(&self, request: &Request<'_>) -> Option<IpAddr> {
        self.proxies.client(request)
    }

    /// Returns the key under which the sender of `request` is counted.
    async fn visitor_key(&self, request: &Request<'_>, policy: &Policy) -> Key {
        let settled = match policy.by {
            // If the store is down, the failure is already in the log.
            By::Session => guard::session(request).await.ok(),
            By::Address => None,
        };
        match settled.and_then(|session| session.settled_tag(policy.window)) {
            Some(tag) => self.key(policy, "session ", tag.to_string().as_bytes()),
            None => match self.client(request).map(network_of) {
                Some(address) => self.key(policy, "address ", address.to_string().as_bytes()),
                None => self.key(policy, "nowhere", b""),
            },
        }
    }

    /// Returns the key of `who`, which is of this `kind`. It does not reveal `who`. A hash without a
    /// secret would: trying all addresses would find the one.
    fn key(&self, policy: &Policy, kind: &str, who: &[u8]) -> Key {
        let mut hash = Sha256::new_with_prefix(self.secret.get().unwrap_or(&[0; 32]));
        hash.update(format!("{} {kind}", policy.name));
        hash.update(who);
        let hidden: [u8; 32] = hash.finalize().into();
        let name: String = hidden[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.namespace.key(name)
    }

    /// Counts `requests` requests under `key`, and returns a [`Count`] for each of them.
    ///
    /// It reads the hits, adds the requests that are served, and writes the hits back. If another
    /// process wrote first, it starts again. If other processes always write first, all requests are
    /// refused, since a store that responds is not down.
    async fn count_batch(&self, key: &Key, policy: &Policy, requests: usize) -> Result<Vec<Count>> {
        const ACT: &str = "count a request";
        let started = Instant::now();
        let patience = self.bounds.patience();
        let window = policy.window.saturating_mul(1000);
        // The hits are kept until no clock has them in its window. Clocks may differ.
        let ttl = Duration::from_millis(window.saturating_add(window / 1000 + SKEW));
        while started.elapsed() <= patience {
            let before = self.bounds.call(ACT, self.store.get(key)).await?;
            let now = self.clock.millis();
            let mut hits = Hits::read(before.as_deref(), now, window);
            let mut add = || hits.add(now, policy.limit, window);
            let decisions: Vec<Decision> = (0..requests).map(|_| add()).collect();
            // A refused request does not count, so there may be nothing to write.
            let all_refused = decisions.iter().all(|decision| decision.refused);
            let written = all_refused || {
                let hits = hits.write();
                let swap = self.store.swap(key, before.as_deref(), &hits, Some(ttl));
                self.bounds.call(ACT, swap).await?
            };
            if written {
                let counts = decisions
                    .iter()
                    .map(|decision| Count::new(policy, decision));
                return Ok(counts.collect());
            }
        }
        log::warn!(
            "refused the requests of one visitor: too many processes count them at the same time"
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

/// Returns the error of an application whose store cannot count requests.
pub(crate) fn no_store() -> Error {
    let why = "the session store holds only sessions; set `sessions.rate_limit.store`, or \
               implement `key_value` for your store";
    Error::new(ErrorKind::Config, "limit requests").because(why)
}
