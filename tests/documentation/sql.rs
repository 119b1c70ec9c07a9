//! The pages of the stores in databases: their statements and settings are those of the stores, and work.

use std::collections::HashSet;

use rocket::figment::providers::{Format, Toml};
use rocket::futures::TryStreamExt;
use rocket::tokio::task::spawn_blocking;
use rocket_session_kit::store::{KeyValue, Namespace, Precondition, Save, Saved, SessionStore};
use rocket_session_kit::{ErrorKind, SessionId, Sessions, SqlStore};
use tempfile::TempDir;

use super::read;
use crate::support::process::free_port;
use crate::support::sql_server::{Kind, SqlServer, new_database};

/// The blocks of code in `language` on a page, below a heading.
fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let page = read(format!("docs/store-{page}.md"));
    let below = page.split(&format!("\n## {heading}\n")).nth(1);
    let below = below.unwrap_or_else(|| panic!("there is no heading {heading}"));
    let below = below.split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = below.split(&fence).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The statements in a block, with single spaces.
fn statements(block: &str) -> Vec<String> {
    let statements = block.split(';').map(|statement| {
        let statement: Vec<_> = statement.split_whitespace().collect();
        statement.join(" ").replace("( ", "(").replace(" )", ")")
    });
    statements
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// Fails unless the page shows the statements that the store asks for.
async fn assert_page_shows_tables(page: &str, url: &str) {
    let store = SqlStore::open(url).unwrap().migrate(false);
    let error = store.setup().await.expect_err("there are no tables");
    let text = error.to_string();
    let (_why, wanted) = text.split_once("make the tables: ").expect("it shows them");
    let [block] = &blocks(page, "The tables", "sql")[..] else {
        panic!("{page} has not one block of statements")
    };
    assert_eq!(statements(block), statements(wanted), "{page}");
}

async fn server(kind: Kind) -> SqlServer {
    let server = spawn_blocking(move || SqlServer::start(kind));
    server.await.expect("it starts")
}

/// Returns an empty file of SQLite, and its URL.
fn file() -> (TempDir, String) {
    let there = tempfile::tempdir().expect("there is room");
    let path = there.path().join("sessions.db");
    std::fs::write(&path, "").expect("there is room");
    let url = format!("sqlite:{}", path.display());
    (there, url)
}

#[rocket::async_test]
async fn each_page_shows_the_tables_that_its_store_makes() {
    for (page, kind) in [("postgres", Kind::Postgres), ("mysql", Kind::MariaDb)] {
        let url = spawn_blocking(move || new_database(kind));
        assert_page_shows_tables(page, &url.await.unwrap()).await;
    }
    let (_there, url) = file();
    assert_page_shows_tables("sqlite", &url).await;
}

/// Makes each kind of call.
async fn exercise(store: &SqlStore) -> rocket_session_kit::Result<()> {
    store.setup().await?;
    let id = SessionId::random();
    for (revision, precondition) in [(1, None), (2, Some(1))] {
        let bytes = format!(r#"{{"rev":"{revision:016x}","expires":99999999999,"v":1}}"#);
        let precondition = precondition.map_or(Precondition::Absent, |revision| {
            Precondition::Revision(rocket_session_kit::store::Revision(revision))
        });
        let save = Save {
            bytes: bytes.as_bytes(),
            ttl: std::time::Duration::from_secs(60),
            precondition,
        };
        let saved = store.save_session(&id, save).await?;
        assert!(matches!(saved, Saved::Saved(_)), "{saved:?}");
    }
    assert!(store.load_session(&id).await?.is_some());
    let listed: Vec<_> = store.iter_sessions().try_collect().await?;
    assert_eq!(listed.len(), 1);
    store.delete_old_sessions(60).await?;
    assert!(store.delete_session(&id).await?);

    let entries = Namespace::new("pages")?;
    let key = entries.key("number");
    assert_eq!(store.increment(&key, 2, None).await?, 2);
    assert_eq!(store.increment(&key, 3, None).await?, 5);
    store.set(&key, b"7", None).await?;
    assert_eq!(store.take(&key).await?.as_deref(), Some(&b"7"[..]));
    assert!(store.add(&key, b"8", None).await?);
    assert_eq!(store.clear(&entries).await?, 1);
    Ok(())
}

/// Executes the statements of `block`, whose database is called otherwise.
fn run(server: &SqlServer, block: &str) {
    for statement in statements(block) {
        server.sql(&statement.replace(" ON shop.", " ON sessions."));
    }
}

/// Fails unless the rights on the page suffice: the first to make tables, the second to use them.
async fn assert_rights_suffice(page: &str, kind: Kind) {
    let server = server(kind).await;
    let [makes, reads] = &blocks(page, "Rights", "sql")[..] else {
        panic!("{page} has not two blocks of rights")
    };
    let url = |user: &str| {
        let administrator = if page == "postgres" {
            "postgres"
        } else {
            "root"
        };
        let (from, to) = (format!("//{administrator}@"), format!("//{user}:password@"));
        server.url().replace(&from, &to)
    };
    run(&server, makes);
    let store = SqlStore::open(&url("shop")).unwrap();
    exercise(&store).await.unwrap();
    exercise(&store).await.expect("it can be launched again");

    run(&server, reads);
    for migrate in [true, false] {
        let store = SqlStore::open(&url("shop_web")).unwrap();
        exercise(&store.migrate(migrate)).await.unwrap();
    }
    let none = SqlStore::open(&url("shop_web")).unwrap().table("others");
    let error = none.unwrap().setup().await.expect_err("it may make none");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    if page == "postgres" {
        let [durability] = &blocks(page, "What survives a failure", "sql")[..] else {
            panic!("it has not one statement about durability")
        };
        run(&server, durability);
        exercise(&SqlStore::open(&url("shop")).unwrap())
            .await
            .unwrap();
    }
    for block in blocks(page, "In production", "sql") {
        run(&server, &block);
    }
}

#[rocket::async_test]
async fn the_rights_and_statements_for_postgres_work() {
    assert_rights_suffice("postgres", Kind::Postgres).await;
}

#[rocket::async_test]
async fn the_rights_and_statements_for_mariadb_work() {
    assert_rights_suffice("mysql", Kind::MariaDb).await;
}

#[rocket::async_test]
async fn the_statements_for_sqlite_work() {
    use sqlx::{Connection, Executor, SqliteConnection};

    let (there, url) = file();
    let store = SqlStore::open(&url).unwrap();
    exercise(&store).await.unwrap();
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let copy = there.path().join("sessions-copy.db");
    let blocks = blocks("sqlite", "In production", "sql");
    assert_eq!(blocks.len(), 2);
    for statement in blocks.iter().flat_map(|block| statements(block)) {
        let statement = statement.replace("sessions-copy.db", &copy.display().to_string());
        connection.execute(&*statement).await.unwrap();
    }
    let copy = SqlStore::open(&format!("sqlite:{}", copy.display())).unwrap();
    exercise(&copy.migrate(false)).await.unwrap();
}

/// The URLs that the pages show for this machine, with the sockets of servers of the tests.
#[rocket::async_test]
async fn the_urls_of_sockets_and_schemas_work() {
    for (page, kind, setting) in [
        ("postgres", Kind::Postgres, "SHOW unix_socket_directories"),
        ("mysql", Kind::MariaDb, "SELECT @@socket"),
    ] {
        let server = server(kind).await;
        let text = read(format!("docs/store-{page}.md"));
        let row = text
            .lines()
            .find(|line| line.starts_with("| …on this machine"));
        let url = row.and_then(|row| row.split('"').nth(1)).expect("a URL");
        let (_start, parameter) = url.split_once('?').expect("a parameter");
        let (name, _place) = parameter.split_once('=').expect("a value");
        let place = server.sql(setting);
        let user = if page == "postgres" {
            "postgres"
        } else {
            "root"
        };
        // A server of a test has a port of its own, which is in the name of PostgreSQL's socket.
        let port = server.port;
        let url = format!(
            "{page}://{user}@localhost:{port}/sessions?{name}={}",
            place.trim()
        );
        exercise(&SqlStore::open(&url).unwrap()).await.unwrap();
    }
    let server = server(Kind::Postgres).await;
    server.sql("CREATE SCHEMA web");
    let parameter = "?options[search_path]=web";
    assert!(read("docs/store-postgres.md").contains(parameter));
    let store = SqlStore::open(&format!("{}{parameter}", server.url())).unwrap();
    exercise(&store).await.unwrap();
    let tables =
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename LIKE 'sessions%'";
    let found = server.sql(tables);
    let found: HashSet<_> = found.lines().collect();
    assert_eq!(
        found,
        HashSet::from(["web.sessions", "web.sessions_entries"])
    );
}

/// A launch with the settings of each page finds the store that they name. No server is there.
#[rocket::async_test]
async fn the_settings_on_the_pages_of_databases_are_valid() {
    crate::support::log::keep();
    let there = tempfile::tempdir().expect("there is room");
    let file = there.path().join("sessions.db");
    for (name, least) in [("postgres", 2), ("mysql", 2), ("sqlite", 1)] {
        let page = read(format!("docs/store-{name}.md"));
        let blocks = page.split("```toml\n").skip(1).map(|rest| {
            let block = rest.split("```").next().unwrap_or_default();
            block
                .replace("10.0.0.5", &format!("127.0.0.1:{}", free_port()))
                .replace("/var/lib/shop/sessions.db", &file.display().to_string())
        });
        let blocks: Vec<_> = blocks.filter(|block| block.contains("[default")).collect();
        assert!(blocks.len() >= least, "{name}");
        for settings in blocks {
            let figment = rocket::Config::figment()
                .merge(Toml::string(&settings).nested())
                .merge(("log_level", "off"))
                .merge(("sessions.require_store_at_launch", false));
            let rocket = rocket::custom(figment).attach(Sessions::fairing());
            let rocket = rocket.ignite().await.expect("the settings are valid");
            let sessions = rocket.state::<Sessions>().expect("it is attached");
            assert_eq!(sessions.store().name(), name);
        }
    }
}
