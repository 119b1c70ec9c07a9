//! What `rocket_session_kit::storable` promises.

mod corpus;
mod damage;
mod depth;
mod perl;
mod shape;
mod support;
mod types;
mod vectors;
