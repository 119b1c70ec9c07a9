//! The limits of NIST SP 800-63B-4 for the lifetime of a session.

use serde::{Deserialize, Serialize};

use super::Config;
use crate::error::{Error, Result};

/// A level of NIST SP 800-63B-4, whose limits the timeouts keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    Aal1,
    Aal2,
    Aal3,
}

/// The longest timeouts of a level, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct PolicyLimits {
    pub(crate) idle: Option<u64>,
    pub(crate) absolute: u64,
}

impl Policy {
    /// Returns the limits of this level, from sections 2.1.3, 2.2.3 and 2.3.3.
    pub(crate) fn limits(self) -> PolicyLimits {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let (idle, absolute) = match self {
            Self::Aal1 => (None, 30 * 24 * HOUR),
            Self::Aal2 => (Some(HOUR), 24 * HOUR),
            Self::Aal3 => (Some(15 * MINUTE), 12 * HOUR),
        };
        PolicyLimits { idle, absolute }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
            Self::Aal3 => "aal3",
        }
    }
}

impl Config {
    /// Gives the timeouts that are not set the limits of the policy. `is_set` is whether a key is
    /// set.
    pub(super) fn adopt_policy(&mut self, is_set: impl Fn(&str) -> bool) {
        let Some(limits) = self.policy.map(Policy::limits) else {
            return;
        };
        if let Some(idle) = limits.idle.filter(|_| !is_set("idle_timeout")) {
            self.idle_timeout = idle;
        }
        if !is_set("absolute_timeout") {
            self.absolute_timeout = limits.absolute;
        }
    }

    /// Checks that the timeouts are within the policy.
    pub(super) fn check_policy(&self) -> Result<()> {
        let Some(policy) = self.policy else {
            return Ok(());
        };
        let limits = policy.limits();
        let absolute = Some(self.absolute_timeout).filter(|absolute| *absolute > 0);
        let max_age = self.cookie.max_age.map(u64::from);
        let idle_limit = limits.idle.unwrap_or(u64::MAX);
        for (key, value, most) in [
            ("idle_timeout", Some(self.idle_timeout), idle_limit),
            (
                "absolute_timeout",
                absolute.or(Some(u64::MAX)),
                limits.absolute,
            ),
            ("cookie.max_age", max_age, limits.absolute),
        ] {
            if value.is_some_and(|value| value > most) {
                let why = format!(
                    "`policy = \"{}\"` allows from 1 to {most} seconds; set it so, or change the policy",
                    policy.name()
                );
                return Err(Error::config(&format!("sessions.{key}"), why));
            }
        }
        Ok(())
    }
}
