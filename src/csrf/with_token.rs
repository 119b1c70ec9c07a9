//! A form of the application's with the token beside its own fields.

use rocket::form::{self, DataField, Errors, FromForm, FromFormField, Options, ValueField};

use super::FIELD;
use crate::error::Result;

/// A form of which one field is the token, and the rest a `T`.
pub(super) struct WithToken<'r, T> {
    pub(super) token: Option<&'r str>,
    pub(super) rest: Result<T, Errors<'r>>,
}

pub(super) struct WithTokenContext<'r, T: FromForm<'r>> {
    token: Option<&'r str>,
    rest: T::Context,
}

#[rocket::async_trait]
impl<'r, T: FromForm<'r>> FromForm<'r> for WithToken<'r, T> {
    type Context = WithTokenContext<'r, T>;

    fn init(options: Options) -> Self::Context {
        WithTokenContext {
            token: None,
            rest: T::init(options),
        }
    }

    fn push_value(context: &mut Self::Context, field: ValueField<'r>) {
        if field.name.source() == FIELD {
            context.token = Some(field.value);
        } else {
            T::push_value(&mut context.rest, field);
        }
    }

    async fn push_data(context: &mut Self::Context, field: DataField<'r, '_>) {
        if field.name.source() != FIELD {
            return T::push_data(&mut context.rest, field).await;
        }
        // Some programs, if no browser, say of every field what is in it.
        context.token = <&str as FromFormField>::from_data(field).await.ok();
    }

    fn push_error(context: &mut Self::Context, error: form::Error<'r>) {
        T::push_error(&mut context.rest, error);
    }

    fn finalize(context: Self::Context) -> form::Result<'r, Self> {
        Ok(Self {
            token: context.token,
            rest: T::finalize(context.rest),
        })
    }
}
