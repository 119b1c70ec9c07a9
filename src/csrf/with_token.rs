//! A form of the application, together with its CSRF token.

use rocket::form::{self, DataField, Errors, FromForm, FromFormField, Options, ValueField};

use super::FIELD;
use crate::error::Result;

/// A form with a field for the token. The other fields are a `T`.
pub(super) struct WithToken<'r, T> {
    pub(super) token: Option<&'r str>,
    pub(super) fields: Result<T, Errors<'r>>,
}

pub(super) struct WithTokenContext<'r, T: FromForm<'r>> {
    token: Option<&'r str>,
    fields: T::Context,
}

#[rocket::async_trait]
impl<'r, T: FromForm<'r>> FromForm<'r> for WithToken<'r, T> {
    type Context = WithTokenContext<'r, T>;

    fn init(options: Options) -> Self::Context {
        WithTokenContext {
            token: None,
            fields: T::init(options),
        }
    }

    fn push_value(context: &mut Self::Context, field: ValueField<'r>) {
        if field.name.source() == FIELD {
            context.token = Some(field.value);
        } else {
            T::push_value(&mut context.fields, field);
        }
    }

    async fn push_data(context: &mut Self::Context, field: DataField<'r, '_>) {
        if field.name.source() != FIELD {
            return T::push_data(&mut context.fields, field).await;
        }
        // Browsers send the token as a value. Some other programs send every field as data with a type.
        context.token = <&str as FromFormField>::from_data(field).await.ok();
    }

    fn push_error(context: &mut Self::Context, error: form::Error<'r>) {
        T::push_error(&mut context.fields, error);
    }

    fn finalize(context: Self::Context) -> form::Result<'r, Self> {
        Ok(Self {
            token: context.token,
            fields: T::finalize(context.fields),
        })
    }
}
