//! Form tokens, which can be used once.

use aes_gcm::aead::{OsRng, rand_core::RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::send::SaveKind;
use super::{Lifecycle, Session};
use crate::change::Change;
use crate::error::Result;
use crate::manager::CommitOutcome;
use crate::record::Record;

/// Returns 256 random bits, as text.
pub(super) fn random() -> String {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Compares two tokens in constant time.
fn equal_in_constant_time(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl Session {
    /// Returns a new token for one form. Put it into a hidden field. The request that sends it back
    /// [removes](Self::remove_form_token) it, so that a form that is sent twice is processed once.
    ///
    /// A session has at most 32 tokens: a further one replaces the oldest. A log-in removes all of
    /// them. If two requests renew a session at the same time and `sessions.renewal_grace` is 0, the
    /// copy that results has no tokens.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/form")]
    /// fn form(session: &Session) -> String {
    ///     session.create_form_token()
    /// }
    ///
    /// #[post("/order?<token>")]
    /// async fn order(token: &str, session: &Session) -> Result<&'static str> {
    ///     Ok(if session.remove_form_token(token).await? { "ordered" } else { "nothing done" })
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![form, order], |client| {
    /// # let token = client.get("/form").dispatch().into_string().unwrap();
    /// # let order = || client.post(format!("/order?token={token}")).dispatch().into_string().unwrap();
    /// # assert_eq!((order().as_str(), order().as_str()), ("ordered", "nothing done"));
    /// # });
    /// ```
    pub fn create_form_token(&self) -> String {
        let token = random();
        self.change(&mut self.state.lock(), Change::AddToken(token.clone()))
            .expect("a token is refused nothing");
        token
    }

    /// Returns whether `token` comes from [`create_form_token`](Self::create_form_token) and is
    /// unused, as far as this request knows.
    pub fn has_form_token(&self, token: &str) -> bool {
        let state = self.state.lock();
        state
            .record
            .tokens
            .iter()
            .any(|own| equal_in_constant_time(own, token))
    }

    /// Uses up `token`, and returns whether that worked: it works for exactly one of all requests
    /// that send it.
    ///
    /// This is a separate save, done before the call returns. It holds whatever happens to the
    /// request.
    ///
    /// # Errors
    ///
    /// If the store fails. The token may be used up then.
    pub async fn remove_form_token(&self, token: &str) -> Result<bool> {
        self.use_form_token(token, None).await
    }

    /// Uses up `token`, and returns a new one in its place: for exactly one of all requests that send
    /// the token. For all others, and for a token that is unknown or used up, it returns `None`.
    ///
    /// So a client that sends each request with the token of the last response is the only one that
    /// has a valid token: if a copy of a token is used, the next request with the other copy is refused.
    ///
    /// This is a separate save, as in [`remove_form_token`](Self::remove_form_token). If the response
    /// with the new token is lost, the client needs another one from
    /// [`create_form_token`](Self::create_form_token). A log-in removes the new token too.
    ///
    /// # Errors
    ///
    /// If the store fails. The token may be used up then.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::http::Status;
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/token")]
    /// fn first(session: &Session) -> String {
    ///     session.create_form_token()
    /// }
    ///
    /// #[post("/step?<token>")]
    /// async fn step(token: &str, session: &Session) -> Result<(Status, String)> {
    ///     Ok(match session.rotate_form_token(token).await? {
    ///         Some(next) => (Status::Ok, next),
    ///         None => (Status::Forbidden, "load the page again".into()),
    ///     })
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![first, step], |client| {
    /// # let step = |token: &str| client.post(format!("/step?token={token}")).dispatch();
    /// # let first = client.get("/token").dispatch().into_string().unwrap();
    /// # let second = step(&first).into_string().unwrap();
    /// # assert_eq!(step(&first).status(), Status::Forbidden);
    /// # assert_eq!(step(&second).status(), Status::Ok);
    /// # });
    /// ```
    pub async fn rotate_form_token(&self, token: &str) -> Result<Option<String>> {
        let next = random();
        let used = self.use_form_token(token, Some(&next)).await?;
        Ok(used.then_some(next))
    }

    /// Uses up `token`, and returns whether that worked. If it did, `next` takes its place.
    async fn use_form_token(&self, token: &str, next: Option<&String>) -> Result<bool> {
        if !self.has_form_token(token) {
            return Ok(false);
        }
        self.send_if_unanswered().await?;
        let _one_at_a_time = self.saving.lock().await;

        let stored = {
            let state = &mut *self.state.lock();
            let changes = state.changes.len();
            state
                .changes
                .retain(|change| !matches!(change, Change::AddToken(own) if equal_in_constant_time(own, token)));
            if state.changes.len() < changes {
                // This request made the token, so no other request has it.
                state
                    .record
                    .tokens
                    .retain(|own| !equal_in_constant_time(own, token));
                if let Some(next) = next {
                    self.change(state, Change::AddToken(next.clone()))?;
                }
                return Ok(true);
            }
            if matches!(state.lifecycle, Lifecycle::Gone) {
                return Ok(false);
            }
            state.stored()
        };
        let Some((version, record)) = stored else {
            return Ok(false);
        };
        let take_out = |record: &mut Record| {
            let (taken, left) = std::mem::take(&mut record.tokens)
                .into_iter()
                .partition(|own| equal_in_constant_time(own, token));
            record.tokens = left;
            let taken: Vec<String> = taken;
            if !taken.is_empty() {
                record.tokens.extend(next.cloned());
            }
            Ok(taken)
        };
        let (taken, outcome) = self.manager.take(record, version, take_out).await?;
        self.report(&SaveKind::Update(version), &outcome, &[]);
        let here = matches!(outcome, CommitOutcome::Committed { .. });
        self.state
            .lock()
            .settle_taken(outcome, &self.manager.limits);
        Ok(here && !taken.is_empty())
    }

    /// Returns the first secret of the session's CSRF tokens. The first call creates it, and so
    /// begins a session.
    pub(crate) fn csrf_secret(&self) -> String {
        let mut state = self.state.lock();
        if state.record.csrf.is_empty() {
            self.change(&mut state, Change::AddCsrf(random()))
                .expect("a token is refused nothing");
        }
        state.record.csrf[0].clone()
    }

    /// Returns whether `is_it` holds for one of the secrets of the CSRF tokens. There are several
    /// if concurrent requests created the first one.
    pub(crate) fn any_csrf_secret(&self, is_it: impl FnMut(&String) -> bool) -> bool {
        self.state.lock().record.csrf.iter().any(is_it)
    }
}
