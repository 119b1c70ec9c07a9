//! The promises of `rocket_session_kit::storable`.

mod corpus;
mod damage;
mod depth;
mod perl;
mod shape;
mod support;
mod types;
mod vectors;
