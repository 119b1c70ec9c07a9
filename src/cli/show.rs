//! The command `show`, which shows one session, with its values masked.

use std::fmt::Write;

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::value::RawValue;

use super::application::Application;
use super::end;
use super::failure::{Failure, Outcome};
use super::list::Row;
use super::text::{self, plain};
use crate::record::Record;

/// Show one session: who, when and where, and the names and sizes of its values.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit show HANDLE\n  \
    rocket-session-kit show HANDLE --values\n  \
    rocket-session-kit show HANDLE --json")]
pub(super) struct Show {
    /// The handle of the session, from `list`.
    #[arg(allow_hyphen_values = true)]
    handle: String,
    /// Show the values, too. They may be secrets.
    #[arg(long)]
    values: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A session with its values.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    logged_in: Option<String>,
    notifications: usize,
    form_tokens: usize,
    values: Vec<NamedValue<'a>>,
}

#[derive(Serialize)]
struct NamedValue<'a> {
    name: &'a str,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
}

impl Show {
    pub(super) async fn run(&self, application: &Application) -> Outcome {
        let handle = end::handle(&self.handle)?;
        let found = application.manager.session_by(&handle).await?;
        let record = found.ok_or_else(end::not_found)?;
        let size = serde_json::to_vec(&record).map_or(0, |json| json.len()) as u64;
        let row = Row::of(application, &record, size);
        let detail = self.detail(&record, row);
        if self.json {
            let json = serde_json::to_string(&detail);
            let json =
                json.map_err(|_| Failure::Failed("cannot write the session as JSON".into()))?;
            return text::print(format!("{json}\n").as_bytes());
        }
        text::print(self.page(&detail).as_bytes())
    }

    fn detail<'a>(&self, record: &'a Record, row: Row<'a>) -> Detail<'a> {
        let log_in = record.log_in.as_ref();
        let values = record.values.iter().map(|(name, value)| NamedValue {
            name,
            size: value.len(),
            value: (self.values.then(|| serde_json::from_str(value).ok())).flatten(),
        });
        Detail {
            row,
            logged_in: log_in.map(|log_in| text::time(log_in.at)),
            notifications: record.notifications.len(),
            form_tokens: record.tokens.len(),
            values: values.collect(),
        }
    }

    fn page(&self, detail: &Detail<'_>) -> String {
        let mut page = detail.row.lines();
        let logged_in = detail.logged_in.as_deref().unwrap_or("-");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "logged in   {logged_in}");
        let _ = writeln!(page, "messages    {}", detail.notifications);
        let _ = writeln!(page, "form tokens {}", detail.form_tokens);
        if detail.values.is_empty() {
            page += "values      none\n";
            return page;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_row(["VALUE", "SIZE", "CONTENT"]);
        for named in &detail.values {
            let content = named.value.map(|value| plain(value.get(), usize::MAX));
            table.add_row([
                plain(named.name, 60),
                text::size(named.size as u64),
                content.unwrap_or_else(|| "(masked)".into()),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            page += line.trim_end();
            page.push('\n');
        }
        page
    }
}
