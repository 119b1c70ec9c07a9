//! Typed data in a session: a shopping cart that is one value, and its own request guard.
//! Run it with `cargo run --example typed`, then `curl -c jar -b jar -X POST localhost:8000/cart/tea`.

use std::collections::BTreeMap;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::serde::{Deserialize, Serialize};
use rocket::{delete, get, launch, post, routes};
use rocket_session_kit::{Error, Result, Session, Sessions};

/// What the visitor has chosen. `#[serde(default)]` reads a cart that an older version has saved.
#[derive(Default, Serialize, Deserialize)]
#[serde(crate = "rocket::serde", default)]
struct Cart {
    things: BTreeMap<String, u32>,
    gift: bool,
}

/// The cart of the visitor. Handlers take it, and need not know under which name the session keeps it.
struct MyCart<'r>(&'r Session);

impl MyCart<'_> {
    const NAME: &'static str = "cart";

    fn get(&self) -> Result<Cart> {
        Ok(self.0.get(Self::NAME)?.unwrap_or_default())
    }

    /// Changes the cart. If another request changes it at the same time, `change` runs again with the
    /// newer cart, so both changes count.
    fn change(&self, change: impl Fn(&mut Cart) + Send + Sync + 'static) -> Result<Cart> {
        self.0.update(Self::NAME, change)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for MyCart<'r> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        <&Session>::from_request(request).await.map(MyCart)
    }
}

#[get("/cart")]
fn show(cart: MyCart<'_>) -> Result<String> {
    let cart = cart.get()?;
    let things = cart
        .things
        .iter()
        .map(|(thing, count)| format!("{count} × {thing}\n"));
    Ok(things.collect::<String>() + if cart.gift { "wrapped as a gift\n" } else { "" })
}

#[post("/cart/<thing>")]
fn add(thing: String, cart: MyCart<'_>) -> Result<Status> {
    cart.change(move |cart| *cart.things.entry(thing.clone()).or_default() += 1)?;
    Ok(Status::NoContent)
}

#[post("/gift")]
fn wrap(cart: MyCart<'_>) -> Result<Status> {
    cart.change(|cart| cart.gift = true)?;
    Ok(Status::NoContent)
}

#[delete("/cart/<thing>")]
fn remove(thing: String, cart: MyCart<'_>) -> Result<Status> {
    cart.change(move |cart| {
        cart.things.remove(&thing);
    })?;
    Ok(Status::NoContent)
}

#[launch]
pub(crate) fn rocket() -> _ {
    let rocket = rocket::build().mount("/", routes![show, add, wrap, remove]);
    rocket.attach(Sessions::fairing())
}
