//! The price of sessions in a database, by the server's own statistics: the statements of a load, a save and
//! a deletion, the round trips, and the indexes that they use.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rocket::futures::TryStreamExt;
use rocket_session_kit::store::{Precondition, Revision, Saved, SessionStore};
use rocket_session_kit::{SessionId, SqlStore};

use crate::support::App;
use crate::support::database::{Database, on_every_server};
use crate::support::process::wait_until;
use crate::support::proxy::Proxy;
use crate::support::server::{create, save, session};
use crate::support::sql_server::{Kind, SqlServer};

on_every_server! {
    a_load_a_save_and_a_deletion_are_one_round_trip_each
    a_request_that_reads_is_one_statement_and_one_that_changes_is_two
    every_statement_about_one_session_reads_one_row_by_its_index
}

/// How often each operation is executed.
const TIMES: u64 = 100;

/// An operation, and how many statements and round trips it is.
const OPERATIONS: [(&str, u64); 7] = [
    ("load", 1),
    ("load of nothing", 1),
    ("create", 1),
    ("replace", 1),
    ("delete if", 1),
    ("delete", 1),
    // One more to find out why.
    ("conflict", 2),
];

/// Executes an operation so often, on sessions that are there.
async fn operate(store: &SqlStore, operation: &str, sessions: &mut [(SessionId, Revision)]) {
    for (id, revision) in sessions {
        let bytes = session("new");
        let expected = Precondition::Revision(*revision);
        match operation {
            "load" => assert!(store.load_session(id).await.unwrap().is_some()),
            "load of nothing" => {
                let other = SessionId::random();
                assert!(store.load_session(&other).await.unwrap().is_none());
            }
            "create" => drop(create(store, "bob").await),
            "replace" => match store.save_session(id, save(&bytes, expected)).await {
                Ok(Saved::Saved(new)) => *revision = new,
                other => panic!("{other:?}"),
            },
            "conflict" => {
                let foreign = Precondition::Revision(Revision(1));
                let saved = store.save_session(id, save(&bytes, foreign)).await;
                assert!(matches!(saved, Ok(Saved::Changed)), "{saved:?}");
            }
            "delete if" => assert!(store.delete_session_if(id, *revision).await.unwrap()),
            "delete" => assert!(store.delete_session(id).await.unwrap()),
            other => panic!("there is no {other}"),
        }
    }
}

/// Creates sessions to work with.
async fn sessions(store: &SqlStore) -> Vec<(SessionId, Revision)> {
    let mut sessions = Vec::new();
    for _ in 0..TIMES {
        let id = create(store, "alice").await;
        let there = store.load_session(&id).await.unwrap();
        sessions.push((id, there.expect("it is there").revision));
    }
    sessions
}

/// A server that counts.
fn counting(kind: Kind) -> SqlServer {
    match kind {
        Kind::Postgres => {
            let counts = [
                "-c",
                "shared_preload_libraries=pg_stat_statements",
                "-c",
                "pg_stat_statements.track_planning=on",
            ];
            let server = SqlServer::with(kind, &counts);
            server.sql("CREATE EXTENSION pg_stat_statements");
            server
        }
        Kind::MariaDb => SqlServer::start(kind),
    }
}

/// Returns what the server has counted, without that of this query.
fn counted(kind: Kind, server: &SqlServer) -> BTreeMap<String, u64> {
    let (sql, separator) = match kind {
        // Every statement of any kind has its text in there: also `BEGIN`, `COMMIT` and `SELECT 1`.
        Kind::Postgres => (
            "SELECT query, calls FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat%'",
            '|',
        ),
        Kind::MariaDb => ("SHOW GLOBAL STATUS", '\t'),
    };
    let text = server.sql(sql);
    let lines = text.lines().filter_map(|line| {
        let (name, count) = line.rsplit_once(separator)?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    lines.collect()
}

/// Returns how much each number has grown.
fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().filter_map(|(name, count)| {
        let more = count - before.get(name).unwrap_or(&0).min(count);
        (more > 0).then(|| (name.clone(), more))
    });
    grown.collect()
}

/// Asserts that the server has executed exactly so many statements, each prepared long ago.
fn assert_statements(kind: Kind, what: &str, grown: &BTreeMap<String, u64>, expected: u64) {
    let number = |name: &str| grown.get(name).copied().unwrap_or(0);
    match kind {
        Kind::Postgres => {
            let all: u64 = grown.values().sum();
            assert_eq!(all, expected, "{what}: {grown:#?}");
        }
        Kind::MariaDb => {
            assert_eq!(number("Com_stmt_execute"), expected, "{what}");
            let others = [
                "Com_stmt_prepare",
                "Com_stmt_close",
                "Com_stmt_reset",
                "Com_admin_commands",
                "Com_begin",
                "Com_commit",
                "Com_rollback",
                "Com_set_option",
            ];
            for name in others {
                assert_eq!(number(name), 0, "{what}: {name}");
            }
            // The query of the statistics is one, and its client sends another as it connects.
            let own = number("Questions") - expected;
            assert!(own <= 3, "{what}: {own} more");
        }
    }
}

async fn a_load_a_save_and_a_deletion_are_one_round_trip_each(kind: Kind) {
    let server = counting(kind);
    let database = Database::at(kind, server.url());
    database.store().await;
    let proxy = Proxy::to(server.port);
    let store = database.open_at(proxy.port);
    // From here on there is a connection, and each statement is prepared.
    for (operation, _) in OPERATIONS {
        let mut warm = sessions(&store).await;
        operate(&store, operation, &mut warm[..1]).await;
    }
    for (operation, expected) in OPERATIONS {
        let mut sessions = sessions(&store).await;
        let (before, sent) = (counted(kind, &server), proxy.round_trips());
        operate(&store, operation, &mut sessions).await;
        let expected = expected * TIMES;
        assert_eq!(proxy.round_trips() - sent, expected, "{operation}");
        let grown = growth(&before, &counted(kind, &server));
        assert_statements(kind, operation, &grown, expected);
    }
    // All of that was one connection.
    assert_eq!(server.connections(), 1);
}

async fn a_request_that_reads_is_one_statement_and_one_that_changes_is_two(kind: Kind) {
    let server = counting(kind);
    let database = Database::at(kind, server.url());
    database.store().await;
    let proxy = Proxy::to(server.port);
    let app = App::on(database.open_at(proxy.port), |f| f).await;
    let visitor = app.known_visitor().await;
    let stranger = app.visitor();
    for path in ["/get/n", "/set/n/1", "/touch"] {
        visitor.get(path).await;
    }
    for (who, path, expected) in [
        (&visitor, "/bare", 0),
        (&visitor, "/get/n", 1),
        (&visitor, "/touch", 1),
        (&visitor, "/add/count/1", 2),
        (&stranger, "/get/n", 0),
    ] {
        let (before, sent) = (counted(kind, &server), proxy.round_trips());
        for _ in 0..TIMES {
            assert_eq!(who.get(path).await.status.code, 200, "{path}");
        }
        let expected = expected * TIMES;
        assert_eq!(proxy.round_trips() - sent, expected, "{path}");
        let grown = growth(&before, &counted(kind, &server));
        assert_statements(kind, path, &grown, expected);
    }
    // A new session is one statement.
    let sent = proxy.round_trips();
    for _ in 0..TIMES {
        assert!(app.visitor().get("/set/a/1").await.sets_session());
    }
    assert_eq!(proxy.round_trips() - sent, TIMES);
}

/// How many rows there are when the plans are made.
const ROWS: u64 = 20_000;

async fn every_statement_about_one_session_reads_one_row_by_its_index(kind: Kind) {
    // Each server writes down by which plan it has executed a statement.
    let server = match kind {
        Kind::Postgres => SqlServer::with(
            kind,
            &[
                "-c",
                "session_preload_libraries=auto_explain",
                "-c",
                "auto_explain.log_min_duration=0",
                "-c",
                "logging_collector=on",
                "-c",
                "log_directory=.",
                "-c",
                "log_filename=plans.log",
                "-c",
                "autovacuum=off",
            ],
        ),
        Kind::MariaDb => SqlServer::with(
            kind,
            &[
                "--slow-query-log",
                "--long-query-time=0",
                "--log-slow-verbosity=query_plan,explain",
                "--slow-query-log-file=plans.log",
            ],
        ),
    };
    let database = Database::at(kind, server.url());
    let store = database.store().await;
    let far = i64::MAX / 2;
    database.fill(ROWS, far);
    server.sql(match kind {
        Kind::Postgres => "ANALYZE sessions",
        Kind::MariaDb => "ANALYZE TABLE sessions",
    });
    let log = Log(server.path("data/plans.log"));
    for (operation, _) in OPERATIONS {
        let id = create(&store, "alice").await;
        let there = store.load_session(&id).await.unwrap().expect("it is there");
        let start = log.end(&server);
        operate(&store, operation, &mut [(id, there.revision)]).await;
        let plans = log.since(start, &server);
        assert_by_key(kind, operation, &plans);
    }
    let start = log.end(&server);
    let mut list = store.iter_sessions();
    assert!(list.try_next().await.unwrap().is_some());
    assert_by_key(kind, "list", &log.since(start, &server));
    // Most of them expire now: in their order they are still found by the index.
    let expire = "UPDATE sessions SET expires = revision WHERE revision BETWEEN 1 AND 15000";
    database.sql(expire);
    let start = log.end(&server);
    store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_sweep(kind, &log.since(start, &server));
}

/// The server's log of statements and their plans.
struct Log(PathBuf);

impl Log {
    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap_or_default()
    }

    /// Waits until everything so far is written, and returns the length.
    fn end(&self, server: &SqlServer) -> usize {
        let mark = SessionId::random().to_hex();
        server.sql(&format!("SELECT '{mark}'"));
        wait_until("the plans are written", || {
            let bytes = self.bytes();
            // The end of a line after the mark.
            String::from_utf8_lossy(&bytes)
                .rsplit_once(&mark)
                .is_some_and(|(_, rest)| rest.contains('\n'))
        });
        self.bytes().len()
    }

    /// Returns what has been written since then.
    fn since(&self, start: usize, server: &SqlServer) -> String {
        let end = self.end(server);
        String::from_utf8_lossy(&self.bytes()[start..end]).into_owned()
    }
}

/// Asserts that all statements about sessions in `log` found their rows by the primary key.
fn assert_by_key(kind: Kind, what: &str, log: &str) {
    let insertion = what == "create";
    match kind {
        Kind::Postgres => {
            assert!(log.contains(" on sessions"), "{what}: {log}");
            assert!(!log.contains("Seq Scan"), "{what}: {log}");
            assert!(insertion || log.contains("sessions_pkey"), "{what}: {log}");
        }
        Kind::MariaDb => {
            // A row that is not there was looked for by the key, too.
            let none = "no matching row in const table";
            let plans = log.lines().filter(|line| line.starts_with("# explain: "));
            let plans = plans.filter(|line| line.contains("\tsessions\t") || line.contains(none));
            let plans: Vec<_> = plans.collect();
            assert!(!plans.is_empty(), "{what}: {log}");
            for plan in plans {
                let by_key = plan.contains("PRIMARY") || plan.contains(none);
                assert!(insertion || by_key, "{what}: {plan}");
                assert!(insertion || !plan.contains("\tALL\t"), "{what}: {plan}");
            }
        }
    }
}

/// Asserts that the deletion in `log` found what has expired by its index.
fn assert_sweep(kind: Kind, log: &str) {
    match kind {
        Kind::Postgres => {
            let plans = log.split("Query Text:");
            let mut deletions =
                plans.filter(|plan| plan.trim_start().starts_with("DELETE FROM sessions "));
            let plan = deletions.next().unwrap_or_else(|| panic!("{log}"));
            assert!(plan.contains("sessions_expires"), "{plan}");
            assert!(!plan.contains("Seq Scan"), "{plan}");
        }
        Kind::MariaDb => {
            let statements = log.split("# Query_time");
            let mut deletions = statements.filter(|text| text.contains("DELETE FROM sessions "));
            let text = deletions.next().unwrap_or_else(|| panic!("{log}"));
            assert!(text.contains("sessions_expires"), "{text}");
        }
    }
}
