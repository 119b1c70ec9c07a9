//! The stores: the contract of each kind, and the implementations for memory, a directory and
//! servers.

pub(crate) mod bounded;
pub(crate) mod configured;
mod directory;
mod edit;
mod key_value;
mod lifetime;
mod listing;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
mod namespace;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod prefix;
mod record_header;
#[cfg(feature = "redis")]
mod redis;
mod save;
#[cfg(feature = "perl")]
mod server;
#[cfg(feature = "cli")]
pub(crate) mod server_facts;
mod session_store;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;
mod stored;
mod sweep;

pub use directory::DirectoryStore;
pub use key_value::KeyValue;
#[cfg(feature = "memcached")]
pub use memcached::MemcachedStore;
pub use memory::MemoryStore;
pub use namespace::{Key, Namespace};
pub use record_header::RecordHeader;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use save::{Precondition, Save, Saved};
#[cfg(feature = "perl")]
pub(crate) use server::Server;
pub use session_store::SessionStore;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use sql::{SqlPool, SqlStore};
pub use stored::{Revision, Stored};
pub use sweep::Swept;
