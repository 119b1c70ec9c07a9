//! The ends of a copy: a session that has ended at the source since the last copy ends at the target.

use super::Route;
use crate::error::Result;
use crate::id::SessionId;
use crate::store::Stored;

impl Route<'_> {
    /// Deletes the session under `id` at the target if the source has lost it since it was copied, and if
    /// the application has not changed it at the target. Returns whether it did.
    ///
    /// A deletion is as final as a tombstone: a request that has loaded the session saves nothing. A
    /// tombstone could end its copies at the target, or those that a renewal has made.
    pub(super) async fn end_if_gone(&self, id: SessionId) -> Result<bool> {
        let source = self.from.store();
        let is_there = self
            .from
            .bounds
            .call("load a session", source.has_session(&id));
        if is_there.await? {
            return Ok(false);
        }
        let mark = self.marks.read(&id).await?.mark;
        let (target, bounds) = (self.to.store(), &self.to.bounds);
        let loading = bounds.call("load a session", target.load_session(&id));
        let ended = match loading.await? {
            None => false,
            Some(there) => {
                let current = there.revision;
                if !mark.has(Stored::new(there.bytes).revision) {
                    return Ok(false);
                }
                let deleting = target.delete_session_if(&id, current);
                bounds.call("delete a session", deleting).await?
            }
        };
        self.marks.remove(&id).await?;
        Ok(ended)
    }
}
