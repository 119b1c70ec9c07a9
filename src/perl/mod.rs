//! The sessions of a Perl site beside this application, which are read and never written.

mod guard;
mod servers;
mod session;
mod site;

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::store::bounded::Bounds;
use site::PerlSite;

pub(crate) use guard::write_headers;
pub use session::PerlSession;

/// The action in errors.
const ACT: &str = "read the Perl session";

/// Returns the Perl site that `config` describes, for Rocket to manage; `None` if it describes none.
///
/// # Errors
///
/// When a setting of the site cannot work.
pub(crate) fn site(
    config: &Config,
    clock: &Clock,
    bounds: &Arc<Bounds>,
) -> Result<Option<PerlSite>> {
    let servers = servers::configured(config, clock)?;
    PerlSite::new(&config.perl, Arc::clone(bounds), servers)
}
