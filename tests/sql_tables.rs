//! The tables at launch: missing ones are made, or the statements for that are shown; others are accepted
//! or refused, and never changed.

use std::fs;

use rocket::async_test;
use rocket::futures::{FutureExt, TryStreamExt};
use rocket_session_kit::store::{KeyValue, Namespace, SessionStore};
use rocket_session_kit::{ErrorKind, SqlStore};

use crate::support::App;
use crate::support::database::{Database, on_every_database};
use crate::support::server::{create, write_everything};
use crate::support::sql_server::Kind;

on_every_database! {
    missing_tables_are_made_and_a_second_launch_changes_nothing
    without_migrate_the_error_shows_the_statements_that_make_the_tables
    another_table_of_the_same_name_is_refused_and_stays_as_it_is
    a_table_with_more_than_is_necessary_is_accepted
    stores_with_different_tables_share_a_database_and_nothing_else
    a_launch_finishes_tables_that_another_began
    a_table_named_by_a_word_of_sql_is_refused_with_the_remedy
}

/// Returns the columns and indexes of all tables.
fn tables(database: &Database) -> String {
    database.sql(match database.kind {
        Some(Kind::Postgres) => {
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns \
             WHERE table_schema = 'public' ORDER BY 1, 2; \
             SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        }
        Some(Kind::MariaDb) => {
            "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns \
             WHERE table_schema = database() ORDER BY 1, 2; \
             SELECT table_name, index_name, seq_in_index, column_name FROM information_schema.statistics \
             WHERE table_schema = database() ORDER BY 1, 2, 3"
        }
        None => "SELECT sql FROM sqlite_master ORDER BY 1",
    })
}

/// Uses the store in every way.
async fn use_it(database: &Database, table: &str) {
    let open = || database.open().table(table).unwrap();
    let app = App::on(open(), |f| f).await;
    write_everything(&app, &open()).await;
    open().delete_old_sessions(u64::MAX).await.unwrap();
}

async fn missing_tables_are_made_and_a_second_launch_changes_nothing(database: Database) {
    assert_eq!(tables(&database), "");
    use_it(&database, "sessions").await;
    let first = database.store().await;
    let id = create(&first, "alice").await;
    let made = tables(&database);
    assert!(made.contains("sessions_entries"), "{made}");
    for migrate in [true, false] {
        let second = database.open().migrate(migrate);
        second.setup().await.expect("the tables are there");
        second.setup().await.expect("a second call changes nothing");
        assert_eq!(tables(&database), made);
        assert!(second.has_session(&id).await.unwrap());
    }
}

/// Returns the statements in the error of a launch that must not make the tables.
async fn statements(store: &SqlStore) -> String {
    let error = store.setup().await.expect_err("there are no tables");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = error.to_string();
    assert!(error.contains("migrate = true"), "{error}");
    shown_in(&error).to_owned()
}

/// Returns the statements that an error shows.
fn shown_in(error: &str) -> &str {
    let (_, statements) = error.split_once("make the tables: ").unwrap_or_else(|| {
        panic!("it shows no statements: {error}");
    });
    statements
}

async fn without_migrate_the_error_shows_the_statements_that_make_the_tables(database: Database) {
    if database.kind.is_none() {
        // Such a launch makes no file, either.
        fs::write(database.file(), "").unwrap();
    }
    let store = database.open().table("visits").unwrap().migrate(false);
    let shown = statements(&store).await;
    assert_eq!(tables(&database), "", "it must make nothing");
    database.sql(&shown);
    store.setup().await.expect("now they are there");
    use_it(&database, "visits").await;
    // They are the same as those that the store makes.
    let made = tables(&database);
    database.sql("DROP TABLE visits; DROP TABLE visits_entries");
    let migrating = database.open().table("visits").unwrap();
    migrating.setup().await.expect("it makes them");
    assert_eq!(tables(&database), made);
    // One of them is not enough.
    database.sql("DROP TABLE visits_entries");
    assert_eq!(statements(&store).await, shown);
}

async fn another_table_of_the_same_name_is_refused_and_stays_as_it_is(database: Database) {
    // The types of an application's own table, and of another store's that is much like this one.
    let (id, bytes, number) = match database.kind {
        Some(Kind::Postgres) => ("bytea", "bytea", "bigint"),
        Some(Kind::MariaDb) => ("binary(16)", "longblob", "bigint"),
        None => ("blob", "blob", "integer"),
    };
    let others = [
        "sessions (id integer, name varchar(20))".to_owned(),
        format!("sessions (id varchar(40) PRIMARY KEY, data varchar(99), expires {number})"),
        format!(
            "sessions (id varchar(40) PRIMARY KEY, revision {number}, saved {number}, \
             expires {number}, bytes {bytes})"
        ),
        format!(
            "sessions (id {id} PRIMARY KEY, revision {number}, saved {number}, \
             expires varchar(40), bytes {bytes})"
        ),
        format!("sessions_entries (name {id} PRIMARY KEY, expires {number})"),
        format!("sessions_entries (name {id} PRIMARY KEY, value varchar(99), expires {number})"),
    ];
    for other in &others {
        database.sql(&format!("CREATE TABLE {other}"));
        let before = tables(&database);
        let name = other.split(' ').next().expect("it begins with its name");
        let named = format!("the table `{name}` is not one of this store");
        for migrate in [true, false] {
            let refused = database.open().migrate(migrate).setup().await;
            let error = refused.expect_err("it is not a table of sessions");
            assert_eq!(error.kind(), ErrorKind::Config, "{other}: {error}");
            let text = error.to_string();
            assert!(text.contains(&named), "{other}: {text}");
            assert!(text.contains("choose another `table`"), "{other}: {text}");
            assert!(shown_in(&text).starts_with("CREATE TABLE"), "{text}");
            assert_eq!(tables(&database), before, "{other}, {migrate}");
        }
        database.sql(&format!("DROP TABLE {name}"));
    }
    use_it(&database, "sessions").await;
}

async fn a_table_with_more_than_is_necessary_is_accepted(database: Database) {
    let store = database.store().await;
    let id = create(&store, "alice").await;
    database.sql("CREATE INDEX of_the_administrator ON sessions (revision)");
    database.sql("ALTER TABLE sessions ADD COLUMN note varchar(20)");
    match database.kind {
        Some(Kind::Postgres) => {
            database.sql("ALTER TABLE sessions ALTER COLUMN bytes DROP NOT NULL");
        }
        Some(Kind::MariaDb) => {
            database.sql("ALTER TABLE sessions MODIFY bytes longblob NULL");
        }
        // SQLite alters no column.
        None => {
            database.sql(
                "DROP TABLE sessions_entries; CREATE TABLE sessions_entries \
                 (name blob PRIMARY KEY, value blob, expires integer)",
            );
        }
    }
    let again = database.store().await;
    assert!(again.has_session(&id).await.unwrap());
    use_it(&database, "sessions").await;
}

async fn stores_with_different_tables_share_a_database_and_nothing_else(database: Database) {
    let open = |table: &str| database.open().table(table).unwrap();
    let (shop, forum) = (open("shop"), open("forum"));
    shop.setup().await.expect("it can be set up");
    forum.setup().await.expect("it can be set up");
    let id = create(&shop, "alice").await;
    let namespace = Namespace::new("test").unwrap();
    let key = namespace.key("entry");
    shop.set(&key, b"1", None).await.unwrap();
    assert!(!forum.has_session(&id).await.unwrap());
    assert!(!forum.delete_session(&id).await.unwrap());
    assert_eq!(forum.get(&key).await.unwrap(), None);
    assert_eq!(forum.clear(&namespace).await.unwrap(), 0);
    let listed: Vec<_> = forum.iter_sessions().try_collect().await.unwrap();
    assert!(listed.is_empty());
    let swept = forum.delete_old_sessions(0).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 0));
    assert!(shop.has_session(&id).await.unwrap());
    assert!(shop.get(&key).await.unwrap().is_some());
}

async fn a_launch_finishes_tables_that_another_began(database: Database) {
    database.store().await;
    let made = tables(&database);
    let drop = match database.kind {
        Some(Kind::MariaDb) => "DROP TABLE sessions_entries",
        _ => "DROP INDEX sessions_expires; DROP TABLE sessions_entries",
    };
    database.sql(drop);
    let store = database.store().await;
    assert_eq!(tables(&database), made);
    create(&store, "alice").await;
}

#[async_test]
async fn a_launch_that_fails_leaves_no_table_in_sqlite() {
    let database = Database::sqlite();
    database.sql("CREATE TABLE sessions_entries_expires (name)");
    let before = tables(&database);
    let error = database.open().setup().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(tables(&database), before);
    database.sql("DROP TABLE sessions_entries_expires");
    let store = database.store().await;
    create(&store, "alice").await;
}

#[async_test]
async fn a_user_without_the_right_to_make_tables_uses_those_that_are_there() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let database = Database::on(kind);
        let (server, name) = database.url.rsplit_once('/').expect("it names one");
        let user = format!("user_of_{name}");
        let rights = "SELECT, INSERT, UPDATE, DELETE";
        let (make, allow) = match kind {
            Kind::Postgres => (
                format!("CREATE USER {user}"),
                format!("GRANT {rights} ON sessions, sessions_entries TO {user}"),
            ),
            Kind::MariaDb => (
                format!("CREATE USER {user}@'127.0.0.1'"),
                format!("GRANT {rights} ON {name}.* TO {user}@'127.0.0.1'"),
            ),
        };
        database.sql(&make);
        let scheme = server.split(':').next().expect("it has one");
        let url = format!("{scheme}://{user}@127.0.0.1:{}/{name}", database.port());
        let store = SqlStore::open(&url).unwrap();
        if kind == Kind::MariaDb {
            database.sql(&allow);
        }
        let refused = store.setup().await.expect_err("it makes no tables");
        assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
        let text = refused.to_string();
        assert!(text.contains("lacks a necessary right"), "{text}");
        // The administrator makes them.
        database.sql(shown_in(&text));
        database.sql(&allow);
        let store = SqlStore::open(&url).unwrap();
        store.setup().await.expect("it needs to make nothing");
        let id = create(&store, "alice").await;
        let key = Namespace::new("test").unwrap().key("count");
        assert_eq!(store.increment(&key, 1, None).await.unwrap(), 1);
        store.delete_old_sessions(u64::MAX).await.unwrap();
        // Without one of the rights.
        let revoke = match kind {
            Kind::Postgres => format!("REVOKE INSERT ON sessions FROM {user}"),
            Kind::MariaDb => format!("REVOKE INSERT ON {name}.* FROM {user}@'127.0.0.1'"),
        };
        database.sql(&revoke);
        let bytes = crate::support::server::session("bob");
        let new = rocket_session_kit::SessionId::random();
        let absent = rocket_session_kit::store::Precondition::Absent;
        let save = crate::support::server::save(&bytes, absent);
        let store = SqlStore::open(&url).unwrap();
        let error = store.save_session(&new, save).await;
        let error = error.expect_err("it may not insert");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("lacks a necessary right"), "{text}");
        assert!(store.has_session(&id).await.unwrap());
        assert!(store.delete_session(&id).await.unwrap());
    }
}

#[async_test]
async fn a_pool_of_the_application_is_shared_with_it() {
    use sqlx::mysql::MySqlPoolOptions;
    use sqlx::postgres::PgPoolOptions;
    use sqlx::sqlite::SqlitePoolOptions;

    macro_rules! shared {
        ($database:expr, $options:ty) => {{
            let database = $database;
            let url = database.url.replace("sqlite:", "sqlite://");
            let url = format!(
                "{url}{}",
                if database.kind.is_none() {
                    "?mode=rwc"
                } else {
                    ""
                }
            );
            let options = <$options>::new().max_connections(1);
            let pool = options.connect(&url).await.unwrap();
            let store = SqlStore::with_pool(pool.clone()).table("visits").unwrap();
            store.setup().await.expect("it can be set up");
            let id = create(&store, "alice").await;
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM visits")
                .fetch_one(&pool)
                .await
                .unwrap();
            assert_eq!((count, pool.size()), (1, 1));
            // While the application has the only connection, the store waits for it.
            let connection = pool.acquire().await.unwrap();
            let mut load = std::pin::pin!(store.has_session(&id));
            assert!(load.as_mut().now_or_never().is_none());
            drop(connection);
            assert!(load.await.unwrap());
            let app = App::on(SqlStore::with_pool(pool.clone()), |f| f).await;
            write_everything(&app, &store).await;
            assert_eq!(pool.size(), 1);
            if let Some(kind) = database.kind {
                let mine = match kind {
                    Kind::Postgres => {
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND pid <> pg_backend_pid()"
                    }
                    Kind::MariaDb => {
                        "SELECT count(*) FROM information_schema.processlist WHERE db = database() \
                         AND id <> connection_id()"
                    }
                };
                assert_eq!(database.sql(mine).trim(), "1");
            }
            pool.close().await;
            let error = store.has_session(&id).await.expect_err("it is closed");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("closed"), "{error}");
        }};
    }
    shared!(Database::postgres(), PgPoolOptions);
    shared!(Database::mariadb(), MySqlPoolOptions);
    shared!(Database::sqlite(), SqlitePoolOptions);
}

async fn a_table_named_by_a_word_of_sql_is_refused_with_the_remedy(database: Database) {
    for migrate in [true, false] {
        let store = database.open().table("order").unwrap().migrate(migrate);
        let error = store.setup().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let error = error.to_string();
        assert!(
            error.contains("is a word of SQL; choose another `table`"),
            "{error}"
        );
    }
    assert_eq!(tables(&database), "");
}
