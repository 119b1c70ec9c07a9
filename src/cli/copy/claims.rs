//! The claims of a copy: a credential of another system that counted at the source does not count again
//! at the target.

use std::time::Duration;

use rocket::futures::TryStreamExt;

use super::Route;
use crate::error::Result;
use crate::manager::CLAIMS;
use crate::store::Namespace;

/// How long a claim stays at the target. The source does not tell how long it was to stay there. This is
/// the longest time for which browsers keep a cookie.
const TTL: Duration = Duration::from_secs(400 * 86_400);

/// Copies the claims that the target does not have.
pub(super) async fn copy(route: &Route<'_>) -> Result<()> {
    let Some([from, to]) = route.entries() else {
        return Ok(());
    };
    let namespace = Namespace::new(CLAIMS)?;
    let mut names = from.keys(&namespace);
    while let Some(name) = names.try_next().await? {
        let key = namespace.key(name);
        let claim = route.from.bounds.call("find a claim", from.get(&key));
        if let Some(claim) = claim.await? {
            let adding = to.add(&key, &claim, Some(TTL));
            route.to.bounds.call("keep a claim", adding).await?;
        }
    }
    Ok(())
}
