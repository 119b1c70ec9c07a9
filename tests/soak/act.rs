//! The acts of a visitor, and their outcomes.

use std::collections::BTreeSet;

use serde::Deserialize;

/// One request, as it was sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) act: Act,
    /// Whether the session may have another id after it.
    pub(crate) renews: bool,
    pub(crate) arg: String,
    /// The cookie that the browser sent with it.
    pub(crate) cookie: Option<String>,
    /// Its time, counted in events of this visitor.
    pub(crate) at: u64,
    /// The earliest time at which its handler is done, in milliseconds of the world.
    pub(crate) handled: u128,
    /// The number of disasters before it.
    pub(crate) epoch: u64,
    /// How often the clocks had been set back by an hour before it.
    pub(crate) backs: u64,
    /// How often an application had been killed before it.
    pub(crate) kills: u64,
    /// The number of acts about the user before it, and whether one was in flight.
    pub(crate) user_acts: u64,
    pub(crate) alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Read,
    Count,
    Save,
    Fail,
    Push,
    Take,
    Token,
    Use,
    Rotate,
    Login,
    Renew,
    Forget,
    Clear,
    Logout,
    Endall,
    Sweep,
}

impl Act {
    /// Returns whether the session may have another id after it.
    pub(crate) fn renews(self) -> bool {
        matches!(self, Self::Login | Self::Renew)
    }

    pub(crate) fn is_about_the_user(self) -> bool {
        matches!(
            self,
            Self::Login | Self::Forget | Self::Logout | Self::Endall
        )
    }

    /// Returns whether a session with values may have none after it.
    pub(crate) fn destroys(self) -> bool {
        matches!(self, Self::Clear | Self::Logout | Self::Endall)
    }

    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A session as a request saw it.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct View {
    /// The session's own name, which stays when its id changes.
    pub(crate) me: Option<String>,
    pub(crate) user: Option<String>,
    n: Option<u64>,
    u: Option<u64>,
    names: Vec<String>,
    pub(crate) owners: BTreeSet<String>,
}

impl View {
    /// Returns the requests that changed it.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        let numbers = self.names.iter();
        numbers.filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns whether its counters match the requests that changed it.
    pub(crate) fn adds_up(&self) -> bool {
        let names = self.names.len() as u64;
        self.n.unwrap_or(0) == names && self.u.unwrap_or(0) == names
    }

    pub(crate) fn shown(&self) -> String {
        let me = self.me.as_deref().unwrap_or("-");
        let user = self.user.as_deref().unwrap_or("-");
        let (n, u) = (self.n.unwrap_or(0), self.u.unwrap_or(0));
        format!("{me} user={user} n={n} u={u} names={}", self.names.len())
    }
}

/// The application's report of a request.
#[derive(Clone, Deserialize)]
pub(crate) struct Report {
    pub(crate) loaded: View,
    pub(crate) left: View,
    pub(crate) said: serde_json::Value,
}

/// A session that the store lists.
#[derive(Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) view: View,
    /// Whether the list of its user has as many sessions as the store.
    pub(crate) indexed: bool,
}

/// The cookie action of a response.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum CookieChange {
    Nothing,
    Set(String),
    Remove,
}

/// The outcome of a request.
pub(crate) enum Outcome {
    Response {
        status: u16,
        cookie_change: CookieChange,
        report: Option<Box<Report>>,
    },
    /// The client gave up, or no response arrived.
    None,
}

impl Outcome {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Response { status: 200, .. })
    }
}
