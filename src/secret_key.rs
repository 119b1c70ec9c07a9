//! Rocket's secret key, from which this crate derives the keys of its own.

use rocket::figment::Figment;

/// Returns the secret key that Rocket uses; in the debug profile it makes one itself.
///
/// Rocket has no accessor for it; a [`Config`](rocket::Config) as a provider of configuration hands
/// it out.
pub(crate) fn secret_key(config: &rocket::Config) -> Vec<u8> {
    let secret_key = Figment::from(config).extract_inner("secret_key");
    secret_key.unwrap_or_default()
}
