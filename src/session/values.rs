//! The session as a map of typed values.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Session, State};
use crate::change::{Change, typed_update};
use crate::error::Result;
use crate::record::write_value;

impl Session {
    /// Returns the value under `name`, if there is one.
    ///
    /// # Errors
    ///
    /// When there is a value and it is not a `T`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn cart(session: &Session) -> Result<String> {
    ///     let cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    ///     Ok(format!("{} things", cart.len()))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![cart], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "0 things");
    /// # });
    /// ```
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let state = &mut *self.state.lock();
        state.note_read(name);
        state.record.get(name)
    }

    /// Puts `value` under `name`. An equal value changes nothing and costs no save.
    ///
    /// **It overwrites.** If another request of this visitor puts a different value there at the
    /// same time, the later value stays and the other is lost. To change an existing value, use
    /// [`update`](Self::update) or [`increment`](Self::increment), not [`get`](Self::get) with
    /// `insert`. In the debug profile the log reports each value that is lost in this way.
    ///
    /// # Errors
    ///
    /// If `value` cannot be written as JSON, or the session would exceed
    /// `[default.sessions.limits]`. The old value stays.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/dark")]
    /// fn dark(session: &Session) -> Result<String> {
    ///     session.insert("theme", "dark")?;
    ///     Ok(session.get("theme")?.unwrap_or_default())
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![dark], |client| {
    /// # assert_eq!(client.get("/dark").dispatch().into_string().unwrap(), "dark");
    /// # });
    /// ```
    pub fn insert<T: Serialize>(&self, name: &str, value: T) -> Result<()> {
        let value = write_value(&value)?;
        let mut state = self.state.lock();
        if state
            .record
            .values
            .get(name)
            .is_some_and(|old| old == value.get())
        {
            return Ok(());
        }
        let change = match state.value_read(name) {
            Some(read) => Change::Overwrite(name.to_owned(), value, read),
            None => Change::Insert(name.to_owned(), value),
        };
        self.change(&mut state, change)
    }

    /// Removes the value under `name`, and returns whether there was one.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn reset(session: &Session) -> Result<String> {
    ///     session.insert("draft", "Dear Sir")?;
    ///     Ok(format!("{} {}", session.remove("draft"), session.remove("draft")))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![reset], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "true false");
    /// # });
    /// ```
    pub fn remove(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let there = state.record.values.get(name).is_some();
        if there {
            self.change(&mut state, Change::Remove(name.to_owned()))
                .expect("a removal outgrows nothing");
        }
        there
    }

    /// Removes the value under `name`, and returns it, if there is one.
    ///
    /// Two requests at the same time may both get the value.
    ///
    /// # Errors
    ///
    /// If there is a value and it is not a `T`. The value stays.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn back(session: &Session) -> Result<String> {
    ///     session.insert("came_from", "/cart")?;
    ///     let back: Option<String> = session.take("came_from")?;
    ///     assert!(!session.contains_key("came_from"));
    ///     Ok(back.unwrap_or_else(|| "/".into()))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![back], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "/cart");
    /// # });
    /// ```
    pub fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let mut state = self.state.lock();
        let value = state.record.get(name)?;
        if value.is_some() {
            self.change(&mut state, Change::Remove(name.to_owned()))?;
        }
        Ok(value)
    }

    /// Adds `by` to the integer under `name`, and returns the sum. A missing value counts as 0.
    ///
    /// Concurrent increments all count. The returned sum is right for this request's view; if other
    /// requests incremented meanwhile, the stored number is higher.
    ///
    /// # Errors
    ///
    /// If the value is not an integer, the sum exceeds 64 bits, or the session would exceed
    /// `[default.sessions.limits]`. The old value stays.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn count(session: &Session) -> Result<String> {
    ///     session.increment("visits", 1)?;
    ///     Ok(session.increment("visits", 2)?.to_string())
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![count], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "3");
    /// # });
    /// ```
    pub fn increment(&self, name: &str, by: i64) -> Result<i64> {
        let mut state = self.state.lock();
        self.change(&mut state, Change::Increment(name.to_owned(), by))?;
        Ok(state.record.get(name)?.unwrap_or_default())
    }

    /// Changes the value under `name` by `f`, and returns the new value. A missing value starts as
    /// the default of `T`.
    ///
    /// If another request of this visitor changed the value meanwhile, `f` runs again on the newer
    /// value, so that no update is lost. `f` should have no side effects.
    ///
    /// # Errors
    ///
    /// If the value is not a `T`, the result of `f` cannot be written as JSON, or the session would
    /// exceed `[default.sessions.limits]`. The old value stays.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[post("/add/<thing>")]
    /// fn add(thing: String, session: &Session) -> Result<String> {
    ///     let cart = session.update("cart", move |cart: &mut Vec<String>| cart.push(thing.clone()))?;
    ///     Ok(cart.join(", "))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![add], |client| {
    /// # client.post("/add/tea").dispatch();
    /// # assert_eq!(client.post("/add/milk").dispatch().into_string().unwrap(), "tea, milk");
    /// # });
    /// ```
    pub fn update<T, F>(&self, name: &str, f: F) -> Result<T>
    where
        T: DeserializeOwned + Serialize + Default,
        F: Fn(&mut T) + Send + Sync + 'static,
    {
        let mut state = self.state.lock();
        self.change(&mut state, Change::Update(name.to_owned(), typed_update(f)))?;
        Ok(state.record.get(name)?.unwrap_or_default())
    }

    /// Returns whether there is a value under `name`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.state.lock().record.values.get(name).is_some()
    }

    /// Returns the names of the values, in the order of their insertion.
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().record.keys()
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.state.lock().record.len()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.state.lock().record.is_empty()
    }

    /// Removes every value, also those that another request adds before this one is saved. The user
    /// stays logged in, and notifications stay.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        if !state.record.is_empty() {
            self.change(&mut state, Change::Clear)
                .expect("a removal outgrows nothing");
        }
    }
}

/// The values that a handler read, as they were in the store.
pub(super) type Reads = Vec<(String, Option<Box<str>>)>;

impl Session {
    /// Records reads from now on, so that the log can report an overwrite by a value computed from
    /// an older one.
    pub(crate) fn watch_reads(&self) {
        self.state.lock().reads.get_or_insert_default();
    }
}

impl State {
    /// Records the value under `name`, if reads are recorded and the session is unchanged.
    fn note_read(&mut self, name: &str) {
        let Some(reads) = &mut self.reads else { return };
        let noted = reads.iter().any(|(read, _)| read == name);
        if !noted && self.changes.is_empty() {
            let value = self.record.values.get(name).map(Into::into);
            reads.push((name.to_owned(), value));
        }
    }

    /// Returns the value that was read under `name`, if the read was recorded.
    fn value_read(&self, name: &str) -> Option<Option<Box<str>>> {
        let mut reads = self.reads.iter().flatten();
        let (_, value) = reads.find(|(read, _)| read == name)?;
        Some(value.clone())
    }
}
