//! The guards of members' pages, which load the account of the visitor who is signed in.

use rocket::Request;
use rocket::http::Status;
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome};
use rocket_session_kit::{LoggedIn, Session};

use crate::accounts::Account;
use crate::database::Database;
use crate::error::Error;

/// A visitor who is signed in. Without one, the response is a 401.
pub struct Member<'r> {
    pub account: Account,
    pub session: &'r Session,
}

/// A member who is the administrator. For other members, the response is a 403.
pub struct Administrator<'r>(pub Member<'r>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Member<'r> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let login = request.guard::<LoggedIn<'_>>().await;
        let login = try_outcome!(login.map_error(|(status, error)| (status, error.into())));
        let session = login.session();
        match Database::of(request).account(login.user()).await {
            Ok(Some(account)) => Outcome::Success(Self { account, session }),
            Ok(None) => {
                // The sessions have outlived a database that was deleted.
                session.log_out();
                Outcome::Forward(Status::Unauthorized)
            }
            Err(error) => Outcome::Error((Status::InternalServerError, error.into())),
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Administrator<'r> {
    type Error = Option<Error>;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Option<Error>> {
        let member = request.guard::<Member<'_>>().await;
        let member = try_outcome!(member.map_error(|(status, error)| (status, Some(error))));
        match member.account.is_admin {
            true => Outcome::Success(Self(member)),
            false => Outcome::Error((Status::Forbidden, None)),
        }
    }
}
