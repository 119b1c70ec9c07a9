//! The fields of a form that is shown again: what was sent, and what is wrong with it.

use rocket::form::{Context, Error};

/// What was sent in a form, and its mistakes. For a form that is shown for the first time, both are empty.
#[derive(Default)]
pub struct Fields {
    values: Vec<(String, String)>,
    errors: Vec<(String, String)>,
}

impl Fields {
    /// Returns the text to put into the field `name`.
    pub fn value(&self, name: &str) -> &str {
        find(&self.values, name).unwrap_or_default()
    }

    /// Returns the first mistake in the field `name`.
    pub fn error(&self, name: &str) -> Option<&str> {
        find(&self.errors, name)
    }

    /// Adds a mistake that only the handler could find.
    pub fn with_error(mut self, name: &str, error: &str) -> Self {
        self.errors.push((name.to_owned(), error.to_owned()));
        self
    }
}

impl From<Context<'_>> for Fields {
    fn from(context: Context<'_>) -> Self {
        let value = |name: &str| context.field_value(name).unwrap_or_default().to_owned();
        let names = context.fields().map(|name| name.to_string());
        let error = |error: &Error<'_>| Some((error.name.as_ref()?.to_string(), error.to_string()));
        Self {
            values: names.map(|name| (name.clone(), value(&name))).collect(),
            errors: context.errors().filter_map(error).collect(),
        }
    }
}

fn find<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let (_, text) = fields.iter().find(|(field, _)| field == name)?;
    Some(text)
}
