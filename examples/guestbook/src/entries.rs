//! The entries of the guest book in the database.

use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::moment::Moment;

/// The number of entries on a page.
pub const PER_PAGE: u32 = 10;

/// An entry in the guest book.
#[derive(Clone, Serialize, Deserialize)]
pub struct Entry {
    pub id: i64,
    pub author: String,
    pub text: String,
    pub written: Moment,
}

type Row = (i64, String, String, i64);

impl From<Row> for Entry {
    fn from((id, author, text, written): Row) -> Self {
        let written = Moment::at(written);
        Self {
            id,
            author,
            text,
            written,
        }
    }
}

impl Entry {
    /// Returns the letter in the circle beside the entry.
    pub fn initial(&self) -> String {
        self.author
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .collect()
    }

    /// Returns the number of the colour of that circle, of six.
    pub fn tint(&self) -> u32 {
        self.author.bytes().map(u32::from).sum::<u32>() % 6
    }
}

impl Database {
    /// Adds an entry of `author`.
    pub async fn add_entry(&self, author: &str, text: &str) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO entries (author, text, written) VALUES (?, ?, ?)")
            .bind(author)
            .bind(text)
            .bind(Moment::now().seconds())
            .execute(&self.0)
            .await?;
        Ok(())
    }

    /// Returns the number of entries.
    pub async fn count_entries(&self) -> sqlx::Result<u32> {
        sqlx::query_scalar("SELECT count(*) FROM entries")
            .fetch_one(&self.0)
            .await
    }

    /// Returns the entries of a page, the newest first. The first page is number 1.
    pub async fn entries_of_page(&self, page: u32) -> sqlx::Result<Vec<Entry>> {
        let before = i64::from(page.saturating_sub(1)) * i64::from(PER_PAGE);
        self.newest(PER_PAGE, before).await
    }

    /// Returns the newest entries, the newest first.
    pub async fn newest_entries(&self, number: u32) -> sqlx::Result<Vec<Entry>> {
        self.newest(number, 0).await
    }

    /// Returns the entries after the one with the number `id`, the oldest first, at most a hundred.
    pub async fn entries_after(&self, id: i64) -> sqlx::Result<Vec<Entry>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, author, text, written FROM entries WHERE id > ? ORDER BY id LIMIT 100",
        )
        .bind(id)
        .fetch_all(&self.0)
        .await?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }

    async fn newest(&self, number: u32, skipped: i64) -> sqlx::Result<Vec<Entry>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, author, text, written FROM entries ORDER BY id DESC LIMIT ? OFFSET ?",
        )
        .bind(number)
        .bind(skipped)
        .fetch_all(&self.0)
        .await?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }
}
