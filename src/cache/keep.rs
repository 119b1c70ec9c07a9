//! How the cache keeps a value: for how long, how long after that it may be shown, and under which tags.

use std::fmt;
use std::time::Duration;

/// How the cache keeps a value. A [`Duration`] is a `Keep` with that [`ttl`](Self::ttl), and `None` one
/// with the configured time.
///
/// # Example
///
/// ```rust
/// use std::time::Duration;
///
/// use rocket::get;
/// use rocket_session_kit::{Cache, Keep, Result};
///
/// #[get("/")]
/// async fn index(cache: &Cache) -> Result<String> {
///     let keep = Keep::new().ttl(Duration::from_secs(60)).tag("articles");
///     cache.set_for("article 7", "text", keep).await?;
///     cache.invalidate_tag("articles").await?;
///     let article: Option<String> = cache.get("article 7").await?;
///     Ok(article.unwrap_or_else(|| "none".into()))
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![index], |client| {
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "none");
/// # });
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Keep {
    pub(super) ttl: Option<Duration>,
    pub(super) stale: Duration,
    pub(super) tags: Vec<String>,
}

impl Keep {
    /// Returns a `Keep` for the time that `sessions.cache.ttl` says, without tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the value for `ttl` instead of `sessions.cache.ttl`.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..self
        }
    }

    /// Keeps the value for `time` longer, in which only
    /// [`get_or_refresh`](crate::Cache::get_or_refresh) returns it. For all other calls it is gone.
    pub fn stale_for(self, time: Duration) -> Self {
        Self {
            stale: time,
            ..self
        }
    }

    /// Adds `tag`. [`invalidate_tag`](crate::Cache::invalidate_tag) makes all values with that tag
    /// invalid.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

impl From<Duration> for Keep {
    fn from(ttl: Duration) -> Self {
        Self::new().ttl(ttl)
    }
}

impl From<Option<Duration>> for Keep {
    fn from(ttl: Option<Duration>) -> Self {
        Self { ttl, ..Self::new() }
    }
}

impl fmt::Debug for Keep {
    /// Shows no tag: it may belong to a visitor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep")
            .field("ttl", &self.ttl)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}
