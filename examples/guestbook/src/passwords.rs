//! Passwords: hashed with argon2, on a thread that may take its time.

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{self, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use rocket::tokio::sync::Semaphore;
use rocket::tokio::task::spawn_blocking;

use crate::error::Result;

/// A hash with the usual parameters that belongs to no account.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Each hash takes 19 MiB of memory, so only a few are made at the same time.
static ROOM: Semaphore = Semaphore::const_new(4);

/// Returns the hash of `password` for the database.
pub async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    let hash = slowly(move || {
        let salt = SaltString::generate(&mut OsRng);
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt)?;
        Ok(hash.to_string())
    });
    Ok(hash.await?)
}

/// Returns whether `hash` is that of `password`. Without a hash, which means that there is no such
/// account, it takes the same time: nobody learns from it which accounts there are.
pub async fn verify(password: &str, hash: Option<String>) -> Result<bool> {
    let password = password.to_owned();
    let matches = slowly(move || {
        let hash = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY))?;
        match Argon2::default().verify_password(password.as_bytes(), &hash) {
            Err(password_hash::Error::Password) => Ok(false),
            verified => verified.map(|()| true),
        }
    });
    Ok(matches.await?)
}

/// Runs `work` on a thread for slow work, as soon as there is room.
async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
) -> password_hash::Result<T> {
    let _place = ROOM.acquire().await.expect("it is never closed");
    spawn_blocking(work).await.expect("the work does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_s_hash_takes_as_long_as_any_other() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let salt = SaltString::generate(&mut OsRng);
        let any = Argon2::default().hash_password(b"secret", &salt).unwrap();
        assert_eq!(nobody.algorithm, any.algorithm);
        assert_eq!(nobody.params, any.params);
        assert_eq!(nobody.hash.unwrap().len(), any.hash.unwrap().len());
    }

    #[rocket::async_test]
    async fn a_password_matches_its_own_hash_only() {
        let hash = hash("correct horse").await.unwrap();
        assert!(verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!verify("wrong horse", Some(hash)).await.unwrap());
        assert!(!verify("correct horse", None).await.unwrap());
    }
}
