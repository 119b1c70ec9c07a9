//! The accounts in the database: who may sign in, and who is the administrator.

use crate::database::Database;
use crate::moment::Moment;

/// An account, without its password.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub is_admin: bool,
}

impl Database {
    /// Returns the account `name`, whatever the case of its letters.
    pub async fn account(&self, name: &str) -> sqlx::Result<Option<Account>> {
        let row: Option<(String, bool)> =
            sqlx::query_as("SELECT name, is_admin FROM accounts WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.0)
                .await?;
        Ok(row.map(|(name, is_admin)| Account { name, is_admin }))
    }

    /// Returns the hash of the password of `name`, if there is such an account.
    pub async fn password_hash(&self, name: &str) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar("SELECT password FROM accounts WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.0)
            .await
    }

    /// Adds an account, and returns it; `None` if the name is taken. The first one is the
    /// administrator's: one statement decides that, so two at the same time cannot both be the first.
    pub async fn add_account(&self, name: &str, hash: &str) -> sqlx::Result<Option<Account>> {
        let added: sqlx::Result<(String, bool)> = sqlx::query_as(
            "INSERT INTO accounts (name, password, is_admin, created)
             VALUES (?, ?, NOT EXISTS (SELECT 1 FROM accounts), ?)
             RETURNING name, is_admin",
        )
        .bind(name)
        .bind(hash)
        .bind(Moment::now().seconds())
        .fetch_one(&self.0)
        .await;
        match added {
            Ok((name, is_admin)) => Ok(Some(Account { name, is_admin })),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
