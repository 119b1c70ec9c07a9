//! The command `list`, which lists the sessions as a table or as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::Args;
use comfy_table::{ColumnConstraint, Row as TableRow, Table, Width, presets};
use rocket::futures::TryStreamExt;
use serde::Serialize;

use super::age;
use super::application::Application;
use super::failure::Outcome;
use super::listed::Kind;
use super::progress::Progress;
use super::text::{self, plain, short};
use crate::record::Record;

/// List the sessions, as a table or as one JSON object a line.
///
/// The list has the order of the store, and each session is printed as soon as it is read, so that any number of
/// sessions needs little memory. Ages count from the last use of a session.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit list --limit 20\n  \
    rocket-session-kit list --user alice\n  \
    rocket-session-kit list --older-than 30d --json\n  \
    rocket-session-kit list --anonymous --newer-than 15m")]
pub(super) struct List {
    /// Only the sessions of this user.
    #[arg(long, value_name = "NAME", conflicts_with = "anonymous")]
    user: Option<String>,
    /// Only the sessions without a user.
    #[arg(long)]
    anonymous: bool,
    /// Only the sessions that were last used that long ago, or earlier.
    #[arg(long, value_name = "AGE", value_parser = age::parse)]
    older_than: Option<Duration>,
    /// Only the sessions that were last used since then.
    #[arg(long, value_name = "AGE", value_parser = age::parse)]
    newer_than: Option<Duration>,
    /// Stop after this many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A session in the list.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    handle: Option<String>,
    user: Option<&'a str>,
    created: String,
    last_used: String,
    expires: String,
    size: u64,
    address: Option<IpAddr>,
    browser: Option<&'a str>,
}

impl<'a> Row<'a> {
    pub(super) fn of(application: &Application, record: &'a Record, size: u64) -> Self {
        let log_in = record.log_in.as_ref();
        Self {
            handle: record.handle().map(|handle| handle.to_string()),
            user: record.user(),
            created: text::time(record.created),
            last_used: text::time(record.accessed),
            expires: text::time(application.end_of(record)),
            size,
            address: record.remote_address(),
            browser: log_in.and_then(|log_in| log_in.agent.as_deref()),
        }
    }
}

impl Row<'_> {
    /// Returns the session as lines of a page.
    pub(super) fn lines(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        let text = |text: Option<&str>| text.map_or_else(|| "-".into(), |text| plain(text, 256));
        [
            ("handle", text(self.handle.as_deref())),
            ("user", text(self.user)),
            ("created", self.created.clone()),
            ("last used", self.last_used.clone()),
            ("expires", self.expires.clone()),
            ("size", text::size(self.size)),
            ("address", text(address.as_deref())),
            ("browser", text(self.browser)),
        ]
        .map(|(name, value)| format!("{name:<11} {value}\n"))
        .concat()
    }
}

impl List {
    pub(super) async fn run(&self, application: &Application) -> Outcome {
        let progress = Progress::beside_output("sessions listed");
        let mut output = Output::new(self.json);
        let most = self.limit.unwrap_or(usize::MAX);
        let mut printed = 0;
        if let Some(user) = &self.user {
            for session in application.manager.sessions_of(user).await? {
                if printed < most && self.wants(&session.record) {
                    let size = serde_json::to_vec(&session.record).map_or(0, |json| json.len());
                    output.print(application, &session.record, size as u64)?;
                    printed += 1;
                }
            }
            return Ok(output.end()?);
        }
        let mut entries = application.entries();
        while printed < most
            && let Some(entry) = entries.try_next().await?
        {
            if let Some(record) = &entry.record
                && entry.kind == Kind::Live
                && self.wants(record)
            {
                output.print(application, record, entry.size)?;
                printed += 1;
                progress.tick();
            }
        }
        Ok(output.end()?)
    }

    fn wants(&self, record: &Record) -> bool {
        let age = SystemTime::now().duration_since(record.accessed_at());
        let age = age.unwrap_or_default();
        !(self.anonymous && record.user().is_some())
            && self.older_than.is_none_or(|older| age >= older)
            && self.newer_than.is_none_or(|newer| age <= newer)
    }
}

/// How many rows of the table are laid out together.
const PAGE: usize = 50;

/// The widths of the columns.
const COLUMNS: [(&str, u16); 8] = [
    ("HANDLE", 43),
    ("USER", 16),
    ("CREATED", 8),
    ("USED", 8),
    ("EXPIRES", 8),
    ("SIZE", 8),
    ("ADDRESS", 15),
    ("BROWSER", 40),
];

/// The list on stdout, a page after the other.
struct Output {
    json: bool,
    stdout: BufWriter<io::Stdout>,
    rows: Vec<TableRow>,
    has_head: bool,
}

impl Output {
    fn new(json: bool) -> Self {
        Self {
            json,
            stdout: BufWriter::new(io::stdout()),
            rows: Vec::new(),
            has_head: false,
        }
    }

    fn print(&mut self, application: &Application, record: &Record, size: u64) -> io::Result<()> {
        let row = Row::of(application, record, size);
        if self.json {
            serde_json::to_writer(&mut self.stdout, &row)?;
            return self.stdout.write_all(b"\n");
        }
        let now = application.manager.clock.seconds();
        let ago = |at: u64| format!("{} ago", short(now.saturating_sub(at)));
        let left = application.end_of(record).saturating_sub(now);
        let optional = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let width = |column: usize| usize::from(COLUMNS[column].1);
        self.rows.push(TableRow::from(vec![
            optional(row.handle),
            optional(row.user.map(|user| plain(user, width(1)))),
            ago(record.created),
            ago(record.accessed),
            format!("in {}", short(left)),
            text::size(size),
            optional(row.address.map(|address| address.to_string())),
            optional(row.browser.map(|browser| plain(browser, width(7)))),
        ]));
        if self.rows.len() == PAGE {
            self.print_page()?;
        }
        Ok(())
    }

    /// Prints the rows so far. All pages have the same columns.
    fn print_page(&mut self) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !std::mem::replace(&mut self.has_head, true) {
            table.add_row(COLUMNS.map(|(name, _)| name));
        }
        table.add_rows(self.rows.drain(..));
        for (column, (_, width)) in table.column_iter_mut().zip(COLUMNS) {
            column.set_padding((0, 2));
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + 2)));
        }
        for line in table.lines() {
            writeln!(self.stdout, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        // A list without sessions has a head, too.
        let is_complete = self.json || self.has_head && self.rows.is_empty();
        if !is_complete {
            self.print_page()?;
        }
        self.stdout.flush()
    }
}
