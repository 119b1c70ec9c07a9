//! State that lives for one dispatch of a request.

use std::any::Any;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rocket::Request;
use rocket::http::Method;

/// The number of requests that hold state of this crate. While it is zero, a response costs one
/// atomic load.
#[derive(Clone, Default)]
pub(crate) struct ActiveRequests(Arc<AtomicUsize>);

/// A request that holds state of this crate. It counts until this is dropped.
pub(crate) struct Active(Arc<AtomicUsize>);

impl ActiveRequests {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    pub(crate) fn enter(&self) -> Active {
        self.0.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(&self.0))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The dispatches of one request so far. A local request and its clones share one request cache,
/// but each is dispatched separately.
///
/// The states of all types are in one list, and not in the request cache: a lookup in the cache hashes,
/// and creates what it does not find.
#[derive(Default)]
struct Dispatches {
    earlier: AtomicUsize,
    ended: AtomicBool,
    head: AtomicBool,
    states: Link,
}

type Link = OnceLock<Box<Node<dyn Any + Send + Sync>>>;

/// The state of one type for one dispatch.
struct Node<T: ?Sized> {
    /// The number of earlier dispatches.
    dispatch: usize,
    next: Link,
    state: T,
}

impl Node<dyn Any + Send + Sync> {
    /// Returns the state, if it is of type `T` and for this dispatch.
    fn get<T: 'static>(&self, dispatch: usize) -> Option<&T> {
        let state = (self.dispatch == dispatch).then_some(&self.state)?;
        state.downcast_ref()
    }
}

impl Dispatches {
    fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(Self::default)
    }
}

/// Notes that `request` arrives. If it was dispatched before, it gets new state; the state that an
/// earlier fairing created in the same dispatch stays.
pub(crate) fn begin(request: &Request<'_>) {
    let dispatches = Dispatches::of(request);
    if dispatches.ended.swap(false, Ordering::Relaxed) {
        dispatches.earlier.fetch_add(1, Ordering::Relaxed);
    }
    let head = request.method() == Method::Head;
    dispatches.head.store(head, Ordering::Relaxed);
}

/// Notes that `request` has its response. Later use belongs to another dispatch.
pub(crate) fn end(request: &Request<'_>) {
    Dispatches::of(request).ended.store(true, Ordering::Relaxed);
}

/// Returns whether `request` arrived as a `HEAD` request. Rocket shows it to a `GET` route as
/// `GET`.
pub(crate) fn is_head(request: &Request<'_>) -> bool {
    Dispatches::of(request).head.load(Ordering::Relaxed)
}

/// Returns the state of type `T` of this dispatch of `request`. The first call creates it.
pub(crate) fn state<'r, T: Default + Send + Sync + 'static>(request: &'r Request<'_>) -> &'r T {
    let dispatches = Dispatches::of(request);
    let dispatch = dispatches.earlier.load(Ordering::Relaxed);
    let mut link = &dispatches.states;
    loop {
        let node = link.get_or_init(|| {
            Box::new(Node {
                dispatch,
                next: Link::new(),
                state: T::default(),
            })
        });
        match node.get(dispatch) {
            Some(state) => return state,
            None => link = &node.next,
        }
    }
}

/// Returns the state of type `T` of this dispatch of `request`, if there is one.
pub(crate) fn existing<'r, T: 'static>(request: &'r Request<'_>) -> Option<&'r T> {
    let dispatches = Dispatches::of(request);
    let dispatch = dispatches.earlier.load(Ordering::Relaxed);
    let mut nodes = iter::successors(dispatches.states.get(), |node| node.next.get());
    nodes.find_map(|node| node.get(dispatch))
}
