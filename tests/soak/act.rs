//! What a visitor does, and what comes back.

use std::collections::BTreeSet;

use serde::Deserialize;

/// One request, as it was sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) act: Act,
    pub(crate) arg: String,
    /// What the browser sent with it.
    pub(crate) cookie: Option<String>,
    /// When, in events of this visitor.
    pub(crate) at: u64,
    /// When its handler is done at the earliest, in milliseconds of the world.
    pub(crate) handled: u128,
    /// How many disasters there had been.
    pub(crate) epoch: u64,
    /// How often the clocks had been set back by an hour.
    pub(crate) backs: u64,
    /// How often an application had been killed.
    pub(crate) kills: u64,
    /// How many acts about the user there had been, and whether one was under way.
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
    Login,
    Renew,
    Forget,
    Clear,
    Logout,
    Endall,
    Sweep,
}

impl Act {
    /// Returns whether the session may be under another id after it.
    pub(crate) fn renews(self) -> bool {
        matches!(self, Self::Login | Self::Renew)
    }

    pub(crate) fn is_about_the_user(self) -> bool {
        matches!(
            self,
            Self::Login | Self::Forget | Self::Logout | Self::Endall
        )
    }

    /// Returns whether a session with values may be without after it.
    pub(crate) fn destroys(self) -> bool {
        matches!(self, Self::Clear | Self::Logout | Self::Endall)
    }

    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What a request saw of a session.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct View {
    /// The session's own name, which stays whatever its id is.
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

    /// Returns whether its counters count what changed it.
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

/// What the application told of a request.
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
}

/// What a response says about the cookie.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum CookieChange {
    Nothing,
    Set(String),
    Remove,
}

/// What came back.
pub(crate) enum Outcome {
    Answer {
        status: u16,
        cookie_change: CookieChange,
        report: Option<Box<Report>>,
    },
    /// Nobody waited for it, or it did not come.
    None,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Answer { status: 200, .. })
    }
}
