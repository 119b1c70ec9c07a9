//! The format of Rocket's private cookies, read and written without a jar.
//!
//! The value of a private cookie is base64 of: a random nonce of 12 bytes, the text encrypted by
//! AES-256-GCM with the cookie's name as associated data, and the tag of 16 bytes. It is the format
//! of [`PrivateJar`](https://docs.rs/cookie/0.18/cookie/struct.PrivateJar.html), so Rocket's own jar
//! can read it. A jar needs seven allocations to decrypt one cookie, and sets up the cipher each
//! time; this needs none.

use aes_gcm::aead::{AeadInPlace, KeyInit, OsRng, rand_core::RngCore};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};

const NONCE: usize = 12;
const TAG: usize = 16;

/// The longest text that is encrypted here: a session id.
const LONGEST: usize = 32;

/// Encrypts and decrypts the values of private cookies under one key.
#[derive(Clone)]
pub(crate) struct CookieCipher {
    cipher: Aes256Gcm,
}

impl CookieCipher {
    /// Returns the cipher that Rocket uses under `secret_key`; `None` if the key is shorter than 64
    /// bytes.
    pub(crate) fn new(secret_key: &[u8]) -> Option<Self> {
        // The first half is for signing.
        let key: &[u8; 32] = secret_key.get(32..64)?.try_into().ok()?;
        Some(Self {
            cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)),
        })
    }

    /// Returns the value of the cookie `name` that holds `text`.
    ///
    /// # Errors
    ///
    /// When the operating system has no random numbers to give. There is no weaker source to fall
    /// back to.
    pub(crate) fn encrypt(&self, name: &str, text: &str) -> Result<String> {
        let mut value = vec![0; NONCE];
        OsRng.try_fill_bytes(&mut value).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "encrypt a cookie").because(error.to_string())
        })?;
        let nonce = *Nonce::from_slice(&value);
        value.extend_from_slice(text.as_bytes());
        let tag = self
            .cipher
            .encrypt_in_place_detached(&nonce, name.as_bytes(), &mut value[NONCE..])
            .expect("the text is far shorter than the 64 GiB that AES-GCM can encrypt");
        value.extend_from_slice(&tag);
        Ok(STANDARD.encode(value))
    }

    /// Returns what `parse` makes of the text in the `value` of the cookie `name`; `None` if the
    /// value is not encrypted under this key and for this name.
    pub(crate) fn decrypt<T>(
        &self,
        name: &str,
        value: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        // The decoder needs room for the padding as well.
        let mut buffer = [0; (NONCE + LONGEST + TAG).next_multiple_of(3) + 3];
        let length = STANDARD.decode_slice(value, &mut buffer).ok()?;
        let (nonce, rest) = buffer.get_mut(..length)?.split_at_mut_checked(NONCE)?;
        let (text, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAG)?)?;
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        self.cipher
            .decrypt_in_place_detached(nonce, name.as_bytes(), text, tag)
            .ok()?;
        parse(std::str::from_utf8(text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decrypt(cipher: &CookieCipher, name: &str, value: &str) -> Option<String> {
        cipher.decrypt(name, value, |text| Some(text.to_owned()))
    }

    #[test]
    fn only_an_encrypted_value_can_be_decrypted() {
        let (cipher, other) = (
            CookieCipher::new(&[7; 64]).unwrap(),
            CookieCipher::new(&[8; 64]).unwrap(),
        );
        let value = cipher
            .encrypt("id", "0123456789abcdef0123456789abcdef")
            .unwrap();
        assert_eq!(
            decrypt(&cipher, "id", &value).as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
        assert_eq!(decrypt(&other, "id", &value), None, "another key");
        assert_eq!(decrypt(&cipher, "__Host-id", &value), None, "another name");
        for cut in 0..value.len() {
            assert_eq!(decrypt(&cipher, "id", &value[..cut]), None, "cut at {cut}");
        }
        for at in 0..value.len() {
            let mut forged = value.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                decrypt(&cipher, "id", std::str::from_utf8(&forged).unwrap()),
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
            assert_eq!(decrypt(&cipher, "id", no), None, "{no:.20}");
        }
    }

    #[test]
    fn no_two_values_are_alike() {
        let cipher = CookieCipher::new(&[7; 64]).unwrap();
        let value = || cipher.encrypt("id", "the same").unwrap();
        assert_ne!(value(), value());
    }

    #[test]
    fn a_key_that_is_too_short_makes_no_cipher() {
        assert!(CookieCipher::new(&[7; 63]).is_none() && CookieCipher::new(&[]).is_none());
    }
}
