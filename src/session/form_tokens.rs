//! Tokens that show what a form was made for: each can be used once.

use aes_gcm::aead::{OsRng, rand_core::RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::{Over, Session};
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

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl Session {
    /// Makes a token for one form, and returns it. Put it into a hidden field; the request that
    /// brings it back [removes](Self::remove_form_token) it, so that a form that is sent twice is
    /// done once.
    ///
    /// A session has at most 32: the oldest goes for the 33rd. A log-in takes them all. Where two
    /// requests renew a session at the same time, which makes a copy of it, the copy has none.
    ///
    /// # Example
    ///
    /// ```rust
    /// # use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/form")]
    /// fn form(session: &Session) -> String {
    ///     session.create_form_token()
    /// }
    ///
    /// #[get("/order?<token>")]
    /// async fn order(token: &str, session: &Session) -> Result<&'static str> {
    ///     Ok(if session.remove_form_token(token).await? { "ordered" } else { "nothing done" })
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![form, order], |client| {
    /// # let token = client.get("/form").dispatch().into_string().unwrap();
    /// # let order = || client.get(format!("/order?token={token}")).dispatch().into_string().unwrap();
    /// # assert_eq!((order().as_str(), order().as_str()), ("ordered", "nothing done"));
    /// # });
    /// ```
    pub fn create_form_token(&self) -> String {
        let token = random();
        self.change(&mut self.state.lock(), Change::AddToken(token.clone()))
            .expect("a token is refused nothing");
        token
    }

    /// Returns whether `token` was made by [`create_form_token`](Self::create_form_token) and not
    /// used since, as far as this request saw.
    pub fn has_form_token(&self, token: &str) -> bool {
        let state = self.state.lock();
        state.record.tokens.iter().any(|own| same(own, token))
    }

    /// Uses up `token`, and returns whether that worked: of all requests that bring it, at the same
    /// time or later, exactly one is told so.
    ///
    /// It is a save of its own, done before this returns, so that it holds whatever becomes of the
    /// request.
    ///
    /// # Errors
    ///
    /// When the store fails. The token may be used up then.
    pub async fn remove_form_token(&self, token: &str) -> Result<bool> {
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
                .retain(|change| !matches!(change, Change::AddToken(own) if same(own, token)));
            if state.changes.len() < changes {
                // Made by this request: nobody else has it.
                state.record.tokens.retain(|own| !same(own, token));
                return Ok(true);
            }
            if state.over == Some(Over::Gone) {
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
                .partition(|own| same(own, token));
            record.tokens = left;
            Ok::<Vec<String>, _>(taken)
        };
        let (taken, kept) = self.manager.take(record, version, take_out).await?;
        let here = matches!(kept, CommitOutcome::Committed { .. });
        self.state.lock().settle_taken(kept, &self.manager.limits);
        Ok(here && !taken.is_empty())
    }

    /// Returns the first secret that CSRF tokens of the session are made of. The first call begins a
    /// session, or puts the secret into it.
    pub(crate) fn csrf_secret(&self) -> String {
        let mut state = self.state.lock();
        if state.record.csrf.is_empty() {
            self.change(&mut state, Change::AddCsrf(random()))
                .expect("a token is refused nothing");
        }
        state.record.csrf[0].clone()
    }

    /// Returns whether `is_it` holds for one of the secrets that CSRF tokens are made of. There are
    /// several if requests made the first one at the same time.
    pub(crate) fn any_csrf_secret(&self, is_it: impl FnMut(&String) -> bool) -> bool {
        self.state.lock().record.csrf.iter().any(is_it)
    }
}
