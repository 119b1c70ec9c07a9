//! The guest book itself, as its users start it, and its visitors.

use std::ops::Deref;
use std::process::{Command, Stdio};

use rocket::tokio::runtime::Builder;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::browser::Browser;
use super::pool::{Kind, Leased, lease};
use super::process::{Server, wait_until};
use super::redis::Redis;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The program on a free port, in a directory of its own.
pub(crate) struct Book {
    server: Server,
    there: TempDir,
}

impl Book {
    pub(crate) fn start() -> Self {
        // The machine may be busy.
        Self::with(&[("ROCKET_SESSIONS", "{store_timeout=20000}")])
    }

    /// Starts it with `ROCKET_` settings.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::launch(tempfile::tempdir().expect("there is room for it"), settings)
    }

    /// Starts it with its sessions on a server, to which one call may take so many milliseconds.
    pub(crate) fn on(redis: &Redis, timeout: u32) -> Self {
        let redis = format!(r#"store="redis",redis={{url="{}"}}"#, redis.url());
        let sessions = format!("{{{redis},store_timeout={timeout}}}");
        Self::with(&[("ROCKET_SESSIONS", &sessions)])
    }

    /// Starts it in the release profile, with a certificate of its own.
    pub(crate) fn behind_tls() -> Self {
        let there = tempfile::tempdir().expect("there is room for it");
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| there.path().join(name));
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-days", "1", "-subj"])
            .args(["/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key);
        let made = openssl.stderr(Stdio::null()).status();
        assert!(made.expect("openssl is installed").success());
        let tls = format!(
            r#"{{certs="{}",key="{}"}}"#,
            certificate.display(),
            key.display()
        );
        let settings = [
            ("ROCKET_PROFILE", "release"),
            ("ROCKET_TLS", &tls),
            // Otherwise it does not tell its port.
            ("ROCKET_LOG_LEVEL", "normal"),
        ];
        Self::launch(there, &settings)
    }

    fn launch(there: TempDir, settings: &[(&str, &str)]) -> Self {
        let server = Self::serve(&there, settings);
        Self { server, there }
    }

    fn serve(there: &TempDir, settings: &[(&str, &str)]) -> Server {
        let program = Command::new(env!("CARGO_BIN_EXE_guestbook"));
        let server = Server::launch(program, there.path(), settings);
        server.unwrap_or_else(|log| panic!("it does not launch:\n{log}"))
    }

    /// Kills it, and starts it again in its directory.
    pub(crate) fn restart(&mut self, settings: &[(&str, &str)]) {
        self.server.process().kill();
        self.server = Self::serve(&self.there, settings);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Takes its tables away, as no administrator should.
    pub(crate) fn break_database(&self) {
        let file = self.there.path().join("guestbook.db");
        let broken = async {
            let options = SqliteConnectOptions::new().filename(file);
            let mut database = options.connect().await?;
            let tables = sqlx::query_scalar(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            );
            let tables: Vec<String> = tables.fetch_all(&mut database).await?;
            sqlx::query("PRAGMA foreign_keys = OFF")
                .execute(&mut database)
                .await?;
            for table in tables {
                let drop = format!(r#"DROP TABLE "{table}""#);
                sqlx::query(&drop).execute(&mut database).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        runtime.block_on(broken).expect("the database is there");
    }

    /// A visitor who has never been there.
    pub(crate) fn visitor(&self) -> Visitor<'_> {
        let [visitor] = self.visitors();
        visitor
    }

    /// Several, each with a browser of their own.
    pub(crate) fn visitors<const N: usize>(&self) -> [Visitor<'_>; N] {
        self.visitors_with(Kind::Usual)
    }

    /// A visitor with a browser of this kind.
    pub(crate) fn visitor_with(&self, kind: Kind) -> Visitor<'_> {
        let [visitor] = self.visitors_with(kind);
        visitor
    }

    pub(crate) fn visitors_with<const N: usize>(&self, kind: Kind) -> [Visitor<'_>; N] {
        lease(kind).map(|browser| Visitor {
            book: self,
            browser,
        })
    }
}

/// A person with a browser, who uses the pages and their forms.
pub(crate) struct Visitor<'b> {
    book: &'b Book,
    browser: Leased,
}

impl Deref for Visitor<'_> {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Visitor<'_> {
    /// Opens a page, and returns its status.
    pub(crate) fn visit(&self, path: &str) -> u64 {
        self.open(&self.book.url(path));
        self.status()
    }

    /// Fills the form of the open page, and sends it.
    pub(crate) fn send(&self, form: &str, fields: &[(&str, &str)]) {
        for (name, text) in fields {
            self.type_in(&format!("{form} [name={name}]"), text);
        }
        self.click(&format!("{form} button"));
    }

    /// Makes an account, which signs in.
    pub(crate) fn sign_up(&self, name: &str) {
        self.visit("/sign-up");
        self.send(
            "#sign-up-form",
            &[
                ("name", name),
                ("password", PASSWORD),
                ("password_again", PASSWORD),
            ],
        );
        assert_eq!(self.who().as_deref(), Some(name));
    }

    pub(crate) fn sign_in(&self, name: &str) {
        self.visit("/sign-in");
        self.fill_sign_in(name, PASSWORD);
        assert_eq!(self.who().as_deref(), Some(name));
    }

    /// Sends the form of the page `/sign-in`.
    pub(crate) fn fill_sign_in(&self, name: &str, password: &str) {
        self.send("#sign-in-form", &[("name", name), ("password", password)]);
    }

    pub(crate) fn sign_out(&self) {
        self.click("#sign-out-form button");
        assert_eq!(self.who(), None);
    }

    /// The name under which the open page shows the visitor as signed in.
    pub(crate) fn who(&self) -> Option<String> {
        let text = self.texts("#who").pop()?;
        // The words before the name are for screen readers.
        text.split_whitespace().last().map(str::to_owned)
    }

    /// Writes an entry.
    pub(crate) fn write(&self, text: &str) {
        self.visit("/");
        self.send("#entry-form", &[("text", text)]);
    }

    /// Waits until the store of the sessions is back. The page stays open.
    pub(crate) fn wait_until_well(&self) {
        wait_until("the store is back", || {
            let status = self.run_async("return (await fetch('/sessions')).status");
            status == 200 || status == 401
        });
    }

    /// Makes the browser forget its cookies, which ends no session.
    pub(crate) fn forget_cookies(&self) {
        self.devtools("Network.clearBrowserCookies", &json!({}));
    }

    /// Writes so many entries, and returns how many of them the guest book took.
    pub(crate) fn write_many(&self, count: usize) -> usize {
        self.visit("/");
        let taken = self.run_async(&format!(
            "let taken = 0;
             for (let n = 1; n <= {count}; n += 1) {{
                 const page = await (await fetch('/')).text();
                 const form = new DOMParser().parseFromString(page, 'text/html').querySelector('#entry-form');
                 const body = new URLSearchParams(new FormData(form));
                 body.set('text', `entry number ${{n}}.`);
                 const response = await fetch(form.getAttribute('action'), {{method: 'POST', body}});
                 taken += response.status === 200 ? 1 : 0;
             }}
             return taken;"
        ));
        let taken = taken.as_u64().unwrap_or_else(|| panic!("{taken}"));
        taken.try_into().expect("it is small")
    }

    /// The number in "You have been here N times."
    pub(crate) fn visits(&self) -> u64 {
        let text = self.text_of("#visits");
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no number in: {text}"))
    }
}
