//! A reader for the images of Perl's Storable (`freeze`, `nfreeze`, `store` and `nstore`).
//!
//! 1. [`from_slice`] turns an image into any type that serde can deserialize, `serde_json::Value`
//!    among them.
//! 2. [`Image`] shows what such a type cannot hold: classes of objects, shared values, cycles.
//! 3. [`Options`] are the limits of both, and a [`DecodeError`] says why an image cannot be read.
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
//! // The output of `nfreeze({ user => "ann", visits => 3 })`.
//! let image = b"\x05\x0b\x03\0\0\0\x02\x0a\x03ann\0\0\0\x04user\x08\x83\0\0\0\x06visits";
//!
//! let login: Login = storable::from_slice(image)?;
//! assert_eq!((login.user.as_str(), login.visits), ("ann", 3));
//! # Ok::<(), rocket_session_kit::DecodeError>(())
//! ```
//!
//! # Images
//!
//! This module reads the formats 2.0 to 2.12, which Storable writes since its version 0.7: in network
//! order, and in the number layout of machines with 32 or 64 bits and either byte order; from memory,
//! and from files with their magic number `pst0`. An older or newer format is a
//! [`DecodeErrorKind::Version`]. An image in Base64 has to be decoded first.
//!
//! # Conversion
//!
//! | in Perl                         | in Rust                                                                       |
//! |---------------------------------|-------------------------------------------------------------------------------|
//! | `undef`, a missing element      | `None`, `()`, JSON's `null`                                                   |
//! | a scalar                        | a string or a number, by its last use; see below                              |
//! | a boolean                       | a boolean                                                                     |
//! | a reference, weak or overloaded | the value that it refers to                                                   |
//! | an object                       | its data; [`Value::class`] returns its class, and no code of it is run        |
//! | an array                        | a sequence, a tuple, a struct                                                 |
//! | a hash, restricted or not       | a map, a struct; with one key also an enum's variant                          |
//! | a string                        | also an enum's variant without data                                           |
//! | a shared value                  | repeated, within [`Options::max_growth`]                                      |
//! | a value that contains itself    | [`DecodeErrorKind::Cycle`], unless the type ignores that part                 |
//! | a version string                | the string it is                                                              |
//! | a regular expression            | the string Perl prints for it, such as `(?^i:ab+)`                            |
//! | hooks, code, ties               | [`DecodeErrorKind::Refused`], for the whole image                             |
//!
//! # Policies
//!
//! - **Strings and numbers.** Perl writes a scalar as a string or a number by how it was last used,
//!   and in network order most numbers are strings. So a type that needs a number also takes the
//!   string that Perl prints for one, and a type that needs a string also takes a number. A type that
//!   needs a boolean also takes 0, 1, `"0"`, `"1"` and `""`. A type that takes anything gets the form
//!   in the image.
//! - **Bytes and text.** A string without Perl's mark for text is read as UTF-8 if it is valid, and
//!   otherwise as Latin-1, as in Perl: `J\xf6rg` is `Jörg`. A type that needs bytes, such as
//!   `Vec<u8>`, gets them unchanged. A string that is marked as UTF-8 and not valid in Rust is a
//!   [`DecodeErrorKind::Text`] for a type that needs text.
//! - **Floating-point numbers** of 8 bytes are exact. The x87's of 80 bits (in 12 bytes, or in 16
//!   with zeros behind them) become the nearest `f64`. Every other size is a
//!   [`DecodeErrorKind::Number`], and so is a native number in network order. Images without such
//!   numbers are read.
//! - **Trailing bytes** are an error, unless [`Options::trailing_bytes`] allows them.
//! - **Duplicate keys.** The last one counts.
//! - **Images by Perl 5.6** with 64-bit integers on a 32-bit machine say that their integers have
//!   32 bits. They cannot be distinguished from other images, so Perl misreads them too.
//!
//! # Security
//!
//! An image may come from an attacker: none of its code is run, no object is made, no module is loaded.
//! Decoding takes memory of at most 64 times the image's size, time in proportion to it, and no
//! stack. The conversion to a Rust type takes stack up to [`Options::max_depth`] and memory up to
//! [`Options::max_growth`], by default 64 times the image's size in all. No error repeats data of an
//! image.

mod access;
mod arena;
mod cost;
mod decode;
mod deserialize;
mod error;
mod header;
mod image;
mod input;
mod native;
mod number;
mod opcode;
mod options;
mod parts;
mod scalar;
mod string;
mod value;
mod walk;

use serde::de::DeserializeOwned;

use crate::decode_error::DecodeError;
#[cfg(doc)]
use crate::decode_error::DecodeErrorKind;

pub use crate::decode_error::Refused;
pub use image::Image;
pub use options::Options;
pub use string::PerlString;
pub use value::{Elements, Entries, Kind, Value};

/// Returns the outermost value of `image` as a `T`.
///
/// The image may begin with the magic number `pst0` of a file. For a `T` that borrows from the bytes,
/// use an [`Image`].
///
/// # Errors
///
/// When the bytes are not a whole image, contain something that only Perl code can restore, or do not fit
/// the type. [`DecodeErrorKind`] lists the causes.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable;
///
/// // The output of `nfreeze([1, "2", undef])`.
/// let image = b"\x05\x0b\x02\0\0\0\x03\x08\x81\x0a\x012\x05";
///
/// let typed: Vec<Option<u8>> = storable::from_slice(image)?;
/// assert_eq!(typed, [Some(1), Some(2), None]);
///
/// let json: serde_json::Value = storable::from_slice(image)?;
/// assert_eq!(json, serde_json::json!([1, "2", null]));
/// # Ok::<(), rocket_session_kit::DecodeError>(())
/// ```
pub fn from_slice<T: DeserializeOwned>(image: &[u8]) -> Result<T, DecodeError> {
    from_slice_with(image, Options::new())
}

/// Returns the outermost value of `image` as a `T`, like [`from_slice`], with other [`Options`].
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
pub fn from_slice_with<T: DeserializeOwned>(
    image: &[u8],
    options: Options,
) -> Result<T, DecodeError> {
    Image::parse_with(image, options)?.deserialize()
}
