//! The seal on a cookie's value: what Rocket calls a private cookie, read and written without a
//! jar.
//!
//! The value is the base64 of a 12-byte random nonce, the text encrypted by AES-256-GCM with the
//! cookie's name as associated data, and the 16-byte tag: the format of
//! [`PrivateJar`](https://docs.rs/cookie/0.18/cookie/struct.PrivateJar.html), so that Rocket's own
//! jar reads it. A jar needs seven allocations to open one cookie and makes the cipher anew each
//! time; this needs none.

use aes_gcm::aead::{AeadInPlace, KeyInit, OsRng, rand_core::RngCore};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};

const NONCE: usize = 12;
const TAG: usize = 16;

/// The longest text that is sealed here: an id.
const LONGEST: usize = 32;

/// Seals and opens short texts with one key.
#[derive(Clone)]
pub(crate) struct PrivateCookie {
    cipher: Aes256Gcm,
}

impl PrivateCookie {
    /// Returns the seal that Rocket uses under `master`, its secret key; `None` where that is
    /// shorter than 64 bytes.
    pub(crate) fn new(master: &[u8]) -> Option<Self> {
        // The first half is for signing.
        let key: &[u8; 32] = master.get(32..64)?.try_into().ok()?;
        Some(Self {
            cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)),
        })
    }

    /// Returns `text` sealed for the cookie `name`.
    ///
    /// # Errors
    ///
    /// When the operating system has no random numbers to give. There is no weaker source to fall
    /// back to.
    pub(crate) fn seal(&self, name: &str, text: &str) -> Result<String> {
        let mut sealed = vec![0; NONCE];
        OsRng.try_fill_bytes(&mut sealed).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "seal a cookie").because(error.to_string())
        })?;
        let nonce = *Nonce::from_slice(&sealed);
        sealed.extend_from_slice(text.as_bytes());
        let sealing =
            self.cipher
                .encrypt_in_place_detached(&nonce, name.as_bytes(), &mut sealed[NONCE..]);
        let tag = sealing.expect("the text is far shorter than the 64 GiB that AES-GCM can seal");
        sealed.extend_from_slice(&tag);
        Ok(STANDARD.encode(sealed))
    }

    /// Hands the text that was sealed as `value` for the cookie `name` to `read`; `None` when this
    /// seal was not used.
    pub(crate) fn open<T>(
        &self,
        name: &str,
        value: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        // base64 wants room for the padding too.
        let mut buffer = [0; (NONCE + LONGEST + TAG).next_multiple_of(3) + 3];
        let length = STANDARD.decode_slice(value, &mut buffer).ok()?;
        let (nonce, rest) = buffer.get_mut(..length)?.split_at_mut_checked(NONCE)?;
        let (text, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAG)?)?;
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        self.cipher
            .decrypt_in_place_detached(nonce, name.as_bytes(), text, tag)
            .ok()?;
        read(std::str::from_utf8(text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(seal: &PrivateCookie, name: &str, value: &str) -> Option<String> {
        seal.open(name, value, |text| Some(text.to_owned()))
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let (seal, other) = (
            PrivateCookie::new(&[7; 64]).unwrap(),
            PrivateCookie::new(&[8; 64]).unwrap(),
        );
        let sealed = seal.seal("id", "0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(
            open(&seal, "id", &sealed).as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
        assert_eq!(open(&other, "id", &sealed), None, "another key");
        assert_eq!(open(&seal, "__Host-id", &sealed), None, "another name");
        for cut in 0..sealed.len() {
            assert_eq!(open(&seal, "id", &sealed[..cut]), None, "cut at {cut}");
        }
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                open(&seal, "id", std::str::from_utf8(&forged).unwrap()),
                None,
                "changed at {at}"
            );
        }
        for no in [
            "",
            " ",
            "%",
            "é",
            "A",
            "AAAA",
            &"A".repeat(38),
            &"A".repeat(80),
            &"A".repeat(10_000),
        ] {
            assert_eq!(open(&seal, "id", no), None, "{no:.20}");
        }
    }

    #[test]
    fn no_two_seals_are_alike() {
        let seal = PrivateCookie::new(&[7; 64]).unwrap();
        let sealed = || seal.seal("id", "the same").unwrap();
        assert_ne!(sealed(), sealed());
    }

    #[test]
    fn a_key_that_is_too_short_makes_no_seal() {
        assert!(PrivateCookie::new(&[7; 63]).is_none() && PrivateCookie::new(&[]).is_none());
    }
}
