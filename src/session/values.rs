//! The session as a map of typed values.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

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

    /// Puts `value` under `name`. An equal value is no change, and costs no save.
    ///
    /// **It overwrites.** When another request of this visitor puts something else there at the same
    /// time, the later whole value stays, and the other is lost. To build on what is there, use
    /// [`update`](Self::update) or [`increment`](Self::increment), and not [`get`](Self::get) with
    /// `insert`. In the debug profile a line in the log tells of each value that was lost so.
    ///
    /// # Errors
    ///
    /// When `value` has no form in JSON, or the session would outgrow `[default.sessions.limits]`.
    /// What was there stays.
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
            .is_some_and(|old| old.get() == value.get())
        {
            return Ok(());
        }
        let change = match state.read_as(name) {
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
    /// Two requests at the same time may both get it.
    ///
    /// # Errors
    ///
    /// When there is a value and it is not a `T`. It stays.
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

    /// Adds `by` to the whole number under `name`, and returns the sum. Where there is nothing, it
    /// counts from 0.
    ///
    /// Increments of requests that run at the same time all count. The number returned is right for
    /// this request's view; when others incremented meanwhile, the stored one is higher.
    ///
    /// # Errors
    ///
    /// When what is there is no whole number, the sum is beyond 64 bits, or the session would
    /// outgrow `[default.sessions.limits]`. What was there stays.
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

    /// Lets `f` change the value under `name` (the default of `T`, where there is none), and
    /// returns what it made of it.
    ///
    /// When another request of this visitor changed the value meanwhile, `f` runs once more, on
    /// what that request left: so no update is lost. `f` should do nothing but compute.
    ///
    /// # Errors
    ///
    /// When what is there is not a `T`, what `f` made has no form in JSON, or the session would
    /// outgrow `[default.sessions.limits]`. What was there stays.
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

    /// Returns the names of the values, in the order in which they came.
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().record.keys()
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.state.lock().record.len()
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.state.lock().record.is_empty()
    }

    /// Removes every value, also those that another request adds until this one is saved. Who is
    /// logged in stays so, and notifications wait on.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        if !state.record.is_empty() {
            self.change(&mut state, Change::Clear)
                .expect("a removal outgrows nothing");
        }
    }
}

/// The values that a handler read, as the store had them.
pub(super) type Reads = Vec<(String, Option<Box<RawValue>>)>;

impl Session {
    /// Notices from here on what is read, so that a line in the log can tell when it is overwritten
    /// by a value that was made of an older one.
    pub(crate) fn watch_reads(&self) {
        self.state.lock().reads.get_or_insert_default();
    }
}

impl State {
    /// Takes note of what is under `name`, if that is to be noticed and as long as it is what the
    /// store has.
    fn note_read(&mut self, name: &str) {
        let Some(reads) = &mut self.reads else { return };
        let noted = reads.iter().any(|(read, _)| read == name);
        if !noted && self.changes.is_empty() {
            let value = self.record.values.get(name).map(ToOwned::to_owned);
            reads.push((name.to_owned(), value));
        }
    }

    /// Returns what was read under `name`, if that was noticed.
    fn read_as(&self, name: &str) -> Option<Option<Box<RawValue>>> {
        let mut reads = self.reads.iter().flatten();
        let (_, value) = reads.find(|(read, _)| read == name)?;
        Some(value.clone())
    }
}
