//! Queues for those who contend for one thing in the store: as far as they are in this process,
//! they go one after the other, so that their conflicts do not multiply.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use rocket::tokio::sync::{Mutex, MutexGuard};
use rocket::tokio::time::timeout;

/// Some queues. Several things may share one.
pub(crate) struct Queues {
    queues: [Mutex<Option<Instant>>; 64],
    hasher: RandomState,
}

/// The turn of one who waited. It ends when this is dropped.
///
/// The time is when the store last let somebody in the queue down.
pub(crate) struct Turn<'a>(MutexGuard<'a, Option<Instant>>);

/// Why somebody did not get a turn.
pub(crate) enum NoTurn {
    /// The queue is too long.
    Crowded,
    /// The store let down who was in front: whoever waited meanwhile need not wait for it again.
    Hanging,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            queues: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Waits, for `patience` at most, until those who came before are through.
    pub(crate) async fn turn(
        &self,
        thing: &impl Hash,
        patience: Duration,
    ) -> Result<Turn<'_>, NoTurn> {
        let arrived = Instant::now();
        let queue = &self.queues[self.hasher.hash_one(thing) as usize % self.queues.len()];
        let turn = timeout(patience, queue.lock())
            .await
            .map_err(|_| NoTurn::Crowded)?;
        match *turn {
            Some(let_down) if let_down > arrived => Err(NoTurn::Hanging),
            _ => Ok(Turn(turn)),
        }
    }
}

/// Tells those who wait behind `turn` when the store let its holder down.
pub(crate) fn remember<T, E>(turn: &mut Option<Turn<'_>>, answer: Result<T, E>) -> Result<T, E> {
    if let (Some(Turn(queue)), Err(_)) = (turn, &answer) {
        **queue = Some(Instant::now());
    }
    answer
}
