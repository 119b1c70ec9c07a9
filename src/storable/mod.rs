//! Perl's Storable, read: what `freeze`, `nfreeze`, `store` and `nstore` wrote, as Rust values.
//!
//! 1. [`from_slice`] turns an image into any type that serde can deserialize, `serde_json::Value`
//!    among them.
//! 2. [`Image`] shows what such a type cannot hold: classes of objects, shared things, cycles.
//! 3. [`Options`] say how much either puts up with.
//!
//! ```rust
//! use rocket_session_kit::storable;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Login {
//!     user: String,
//!     visits: u32,
//! }
//!
//! // What `nfreeze({ user => "ann", visits => 3 })` returns.
//! let image = b"\x05\x0b\x03\0\0\0\x02\x0a\x03ann\0\0\0\x04user\x08\x83\0\0\0\x06visits";
//!
//! let login: Login = storable::from_slice(image)?;
//! assert_eq!((login.user.as_str(), login.visits), ("ann", 3));
//! # Ok::<(), storable::Error>(())
//! ```
//!
//! # Images
//!
//! Read are the formats 2.0 to 2.12, which Storable has written since its version 0.7: in network
//! order, and as machines of 32 or 64 bits and either byte order have their numbers; from memory,
//! and from files with their `pst0`. What is older or newer is an [`ErrorKind::Version`]. An image
//! in Base64 or the like is to be decoded first.
//!
//! # What becomes of it
//!
//! | in Perl                         | here                                                                          |
//! |---------------------------------|-------------------------------------------------------------------------------|
//! | `undef`, a missing element      | `None`, `()`, JSON's `null`                                                   |
//! | a scalar                        | what it was last used as; see below                                           |
//! | a boolean                       | a boolean                                                                     |
//! | a reference, weak or overloaded | what it refers to                                                             |
//! | an object                       | its data; [`Value::class`] tells its class, and nothing is done in its name   |
//! | an array                        | a sequence, a tuple, a struct                                                 |
//! | a hash, restricted or not       | a map, a struct; with one key also an enum's variant                          |
//! | a string                        | also an enum's variant without data                                           |
//! | something shared                | repeated, within [`Options::max_growth`]                                      |
//! | something that contains itself  | [`ErrorKind::Cycle`], unless the type ignores the part in question            |
//! | a version string                | the string it is                                                              |
//! | a regular expression            | the string Perl prints for it, such as `(?^i:ab+)`                            |
//! | hooks, code, ties               | [`ErrorKind::Refused`], for the whole image                                   |
//!
//! # Policies
//!
//! - **Strings and numbers.** Perl writes a scalar as a string or a number by how it was last used,
//!   and in network order most numbers are strings. So where a type asks for a number, a string
//!   that Perl would print for one will do, and a number will do for a string; where it asks for a
//!   boolean, so will 0, 1, `"0"`, `"1"` and `""`. A type that takes anything gets what the image
//!   holds.
//! - **Bytes and text.** A string that Perl did not mark as text is read as UTF-8 if it is, and
//!   otherwise as Latin-1, as Perl would: `J\xf6rg` is `Jörg`. A type that asks for bytes,
//!   `Vec<u8>` among them, gets them as they stand. A string that is marked as UTF-8 and holds what
//!   Rust's cannot is an [`ErrorKind::Text`] when asked for as text.
//! - **Floating-point numbers** of 8 bytes are exact. The x87's of 80 bits (in 12 bytes, or in 16
//!   with zeros behind them) become the nearest `f64`. Any other is an [`ErrorKind::Number`], and
//!   so is a native number in an image in network order. An image that holds none of them is read.
//! - **Trailing bytes** are an error, unless [`Options::trailing_bytes`] allows them.
//! - **Duplicate keys.** The last one counts.
//! - **Images by Perl 5.6** with 64-bit integers on a 32-bit machine say that their integers have
//!   32 bits. They cannot be told apart from others, and are misread, by Perl too.
//!
//! # Security
//!
//! An image may come from anybody: no code of it is run, no object is made, nothing is loaded.
//! Decoding takes memory of 64 times the image's size at most, time in proportion to it, and no
//! stack. Turning it into a Rust type takes stack up to [`Options::max_depth`] and memory up to
//! [`Options::max_growth`]: by default 64 times the image's size with all that is needed on the
//! way. No error repeats what an image holds.

mod access;
mod arena;
mod cost;
mod decode;
mod deserialize;
mod error;
mod error_kind;
mod header;
mod image;
mod input;
mod native;
mod number;
mod opcode;
mod options;
mod parts;
mod scalar;
mod serde_error;
mod string;
mod value;
mod walk;

use serde::de::DeserializeOwned;

pub use error::Error;
pub use error_kind::{ErrorKind, Refused};
pub use image::Image;
pub use options::Options;
pub use string::PerlString;
pub use value::{Elements, Entries, Kind, Value};

/// Returns what was frozen into `image` as a `T`.
///
/// The image may have the magic number `pst0` that files begin with. A `T` that borrows from it is
/// had from an [`Image`].
///
/// # Errors
///
/// When the bytes are no whole image, hold what only Perl can read, or do not fit the type.
/// [`ErrorKind`] has the causes.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable;
///
/// // What `nfreeze([1, "2", undef])` returns.
/// let image = b"\x05\x0b\x02\0\0\0\x03\x08\x81\x0a\x012\x05";
///
/// let typed: Vec<Option<u8>> = storable::from_slice(image)?;
/// assert_eq!(typed, [Some(1), Some(2), None]);
///
/// let json: serde_json::Value = storable::from_slice(image)?;
/// assert_eq!(json, serde_json::json!([1, "2", null]));
/// # Ok::<(), storable::Error>(())
/// ```
pub fn from_slice<T: DeserializeOwned>(image: &[u8]) -> Result<T, Error> {
    from_slice_with(image, Options::new())
}

/// Returns what was frozen into `image` as a `T`, as [`from_slice`] does, by other [`Options`].
///
/// # Errors
///
/// As [`from_slice`].
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{self, Options};
///
/// let image = b"\x05\x0b\x08\x85, and more";
///
/// assert!(storable::from_slice::<u8>(image).is_err());
/// assert_eq!(storable::from_slice_with(image, Options::new().trailing_bytes(true)), Ok(5u8));
/// ```
pub fn from_slice_with<T: DeserializeOwned>(image: &[u8], options: Options) -> Result<T, Error> {
    Image::parse_with(image, options)?.deserialize()
}
