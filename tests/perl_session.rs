//! The session of a Perl site: sessions that Perl itself keeps on real servers are read, and never written.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::{FailedFairings, SentinelAborts};
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::http::{Header, Status};
use rocket::{Route, async_test, get, routes};
use rocket_session_kit::{Error, MemoryStore, Notify, PerlSession, Result, Sessions};
use serde::Deserialize;

use crate::support::memcached::Memcached;
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinels};
use crate::support::served::Served;
use crate::support::{App, Response, figment, log};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// Much longer than a call may take here, and much shorter than a hanging server waits.
const SOON: Duration = Duration::from_secs(10);

/// The Perl program: it freezes a value, and stores it on the server as Perl's clients do.
const KEEP: &str = r#"
use strict; use warnings; use utf8;
use IO::Socket::INET; use Storable qw(freeze nfreeze);
my ($kind, $port, $key, $how, $what) = @ARGV;
my %known = (
    session => { user => "ann", cart => ["tea", "Müsli"], visits => 3, price => 1.5, nothing => undef,
                 address => { city => "Zürich" } },
    object => bless({ user => "ann", when => bless([2026, 11], "Local::Date") }, "Local::Session"),
    list => [1, 2],
    shared => do { my $one = { city => "Z" }; { user => "ann", all => [($one) x 2000] } },
    cycle => do { my $c = { user => "ann" }; $c->{self} = $c; $c },
);
my $bytes = $how eq "nfreeze" ? nfreeze($known{$what}) : $how eq "freeze" ? freeze($known{$what}) : $what;
my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die "no server: $!";
my $length = length $bytes;
if ($kind eq "redis") {
    print $server "*3\r\n\$3\r\nSET\r\n\$" . length($key) . "\r\n$key\r\n\$$length\r\n$bytes\r\n";
} else {
    print $server "set $key 0 0 $length\r\n$bytes\r\n";
}
my $response = <$server>;
die $response unless $response =~ /^(\+OK|STORED)/;
"#;

enum Server {
    Redis(Redis),
    Memcached(Memcached),
}

impl Server {
    fn both() -> [Self; 2] {
        [Self::redis(), Self::memcached()]
    }

    fn redis() -> Self {
        Self::Redis(Redis::start())
    }

    fn memcached() -> Self {
        Self::Memcached(Memcached::start())
    }

    fn place(&self) -> (&'static str, u16) {
        match self {
            Self::Redis(server) => ("redis", server.port),
            Self::Memcached(server) => ("memcached", server.port),
        }
    }

    /// Makes Perl store `what` under `key`, frozen by the function `how`.
    fn keep(&self, key: &str, how: &str, what: &str) {
        let (kind, port) = self.place();
        if let Err(error) = keep_at(kind, port, key, how, what) {
            panic!("perl failed: {error}");
        }
    }

    /// Settings for the server on `port`.
    fn settings(&self, port: u16, more: &str) -> impl FnOnce(Figment) -> Figment + use<> {
        let place = match self {
            Self::Redis(_) => format!(r#"url="redis://127.0.0.1:{port}""#),
            Self::Memcached(_) => format!(r#"servers=["127.0.0.1:{port}"]"#),
        };
        let text = format!(r#"sessions.perl={{cookie_name="session_id",{place}{more}}}"#);
        move |figment| figment.merge(Toml::string(&text))
    }

    async fn app(&self, more: &str) -> App {
        App::built(self.settings(self.place().1, more), |rocket| {
            rocket.mount("/perl", perl())
        })
        .await
    }

    /// Returns the number of reads of a key, and of commands that change one.
    fn asked(&self) -> (u64, u64) {
        match self {
            Self::Redis(server) => {
                let changes = ["set", "del", "unlink", "expire", "eval", "evalsha"];
                let changes = changes.iter().map(|command| server.calls(command)).sum();
                (server.calls("getrange"), changes)
            }
            Self::Memcached(server) => server.commands(),
        }
    }
}

/// Makes Perl store `what` on the server on `port`. Returns Perl's error message if that fails.
fn keep_at(kind: &str, port: u16, key: &str, how: &str, what: &str) -> Result<(), String> {
    let mut perl = Command::new("perl");
    perl.args(["-e", KEEP, kind, &port.to_string(), key, how, what]);
    let output = perl.stdin(Stdio::null()).output();
    let output = output.expect("this test needs `perl`, with its Storable");
    let stderr = || String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or_else(stderr)
}

fn perl() -> Vec<Route> {
    routes![
        user, nobody, twice, whole, typed, keys, classes, has, either, notify
    ]
}

#[get("/has/<name>")]
fn has(name: &str, perl: &PerlSession) -> Result<String> {
    Ok(perl.contains_key(name)?.to_string())
}

#[get("/either")]
fn either(perl: Result<&PerlSession, Error>, optional: Option<&PerlSession>) -> String {
    let kind = perl.map(drop).map_err(|error| error.kind());
    format!("{kind:?} {}", optional.is_some())
}

#[get("/notify")]
fn notify(_perl: &PerlSession) -> Notify<&'static str> {
    Notify::info("read", "for the next page")
}

#[get("/user")]
fn user(perl: &PerlSession) -> Result<String> {
    Ok(format!("{:?}", perl.get::<String>("user")?))
}

#[get("/user", rank = 2)]
fn nobody() -> &'static str {
    "nobody"
}

#[get("/twice")]
fn twice(one: &PerlSession, two: Option<&PerlSession>) -> Result<String> {
    let two = two.expect("the first was there");
    let users: [Option<String>; 2] = [one.get("user")?, two.get("user")?];
    Ok(format!("{users:?} {one:?}"))
}

#[get("/whole")]
fn whole(perl: &PerlSession) -> Result<String> {
    let whole: serde_json::Value = perl.read()?;
    Ok(whole.to_string())
}

#[derive(Deserialize)]
struct Address {
    city: String,
}

#[get("/typed")]
fn typed(perl: &PerlSession) -> Result<String> {
    let address: Option<Address> = perl.get("address")?;
    let cart: Option<Vec<String>> = perl.get("cart")?;
    let (visits, price) = (perl.get::<u32>("visits")?, perl.get::<f64>("price")?);
    let nothing: [Option<String>; 2] = [perl.get("nothing")?, perl.get("missing")?];
    let city = address.map(|address| address.city);
    Ok(format!(
        "{city:?} {cart:?} {visits:?} {price:?} {nothing:?}"
    ))
}

#[get("/keys")]
fn keys(perl: &PerlSession) -> Result<String> {
    let mut keys = perl.keys()?;
    keys.sort();
    Ok(keys.join(","))
}

#[get("/classes")]
fn classes(perl: &PerlSession) -> Result<String> {
    let image = perl.image()?;
    let class = |value: rocket_session_kit::storable::Value<'_>| {
        let end = value.referent().expect("it has an end");
        end.class().map(|class| class.into_owned())
    };
    let when = image.root().get("when").expect("it is there");
    Ok(format!("{:?} {:?}", class(image.root()), class(when)))
}

async fn get(app: &App, path: &'static str, cookie: &str) -> (Status, String) {
    let request = app.client.get(path);
    let response = request
        .header(Header::new("Cookie", cookie.to_owned()))
        .dispatch()
        .await;
    let status = response.status();
    (status, response.into_string().await.unwrap_or_default())
}

async fn body(app: &App, path: &'static str) -> String {
    let (status, body) = get(app, path, &format!("session_id={ID}")).await;
    assert_eq!(status, Status::Ok, "{path}: {body}");
    body
}

#[async_test]
async fn perl_session_data_is_read_as_typed_values() {
    for server in Server::both() {
        let app = server.app("").await;
        for how in ["nfreeze", "freeze"] {
            server.keep(&format!("perlsess::{ID}"), how, "session");
            assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
            assert_eq!(
                body(&app, "/perl/typed").await,
                r#"Some("Zürich") Some(["tea", "Müsli"]) Some(3) Some(1.5) [None, None]"#
            );
            let keys = body(&app, "/perl/keys").await;
            assert_eq!(keys, "address,cart,nothing,price,user,visits");
            let whole: serde_json::Value =
                serde_json::from_str(&body(&app, "/perl/whole").await).unwrap();
            assert_eq!(whole["cart"], serde_json::json!(["tea", "Müsli"]));
        }
    }
}

#[async_test]
async fn a_key_exists_exactly_when_perl_says_so() {
    for server in Server::both() {
        let app = server.app("").await;
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        for (path, there) in [
            ("/perl/has/user", "true"),
            ("/perl/has/nothing", "true"),
            ("/perl/has/missing", "false"),
            ("/perl/has/city", "false"),
        ] {
            assert_eq!(body(&app, path).await, there, "{path}");
        }
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "list");
        let (status, _) = get(&app, "/perl/has/user", &format!("session_id={ID}")).await;
        assert_eq!(status, Status::InternalServerError);
    }
}

#[async_test]
async fn an_object_is_read_as_its_data_with_its_class() {
    for server in Server::both() {
        let app = server.app("").await;
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "object");
        assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
        let classes = body(&app, "/perl/classes").await;
        assert_eq!(classes, r#"Some("Local::Session") Some("Local::Date")"#);
    }
}

#[async_test]
async fn a_request_reads_once_and_never_writes() {
    for server in Server::both() {
        let app = server.app("").await;
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let before = server.asked();
        let twice = body(&app, "/perl/twice").await;
        assert_eq!(twice, r#"[Some("ann"), Some("ann")] PerlSession { .. }"#);
        let after = server.asked();
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0));
        assert_eq!(body(&app, "/bare").await, "bare");
        assert_eq!(server.asked(), after, "an unused session costs nothing");
    }
}

#[async_test]
async fn a_response_that_used_the_perl_session_varies_by_cookie() {
    let server = Server::redis();
    let app = server.app("").await;
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let visitor = app.visitor();
    visitor.set_cookie("session_id", ID);
    let response: Response = visitor.get("/perl/user").await;
    assert_eq!(response.header("Vary"), Some("Cookie"));
    assert_eq!(response.header("Cache-Control"), Some("private"));
    assert_eq!(response.header("Set-Cookie"), None);
    assert_eq!(visitor.get("/bare").await.header("Vary"), None);
    // A visitor without that cookie is unknown.
    assert_eq!(app.visitor().get("/perl/user").await.body, "nobody");
    let response = app.visitor().get("/perl/user").await;
    assert_eq!(response.header("Vary"), Some("Cookie"));
    assert_eq!(response.header("Cache-Control"), None);
}

#[async_test]
async fn a_response_varies_by_cookie_even_with_header_sessions() {
    let server = Server::redis();
    let settings = server.settings(server.place().1, "");
    let app = App::built(
        |figment| settings(figment).merge(("sessions.transport", "header")),
        |rocket| rocket.mount("/perl", perl()),
    )
    .await;
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    for path in ["/perl/user", "/perl/notify"] {
        let visitor = app.visitor();
        visitor.set_cookie("session_id", ID);
        let response = visitor.get(path).await;
        let vary = response.header("Vary").unwrap_or_default();
        assert!(
            vary.split(", ").any(|name| name == "Cookie"),
            "{path}: {vary}"
        );
    }
}

#[async_test]
async fn a_visitor_unknown_to_the_perl_site_has_no_perl_session() {
    for server in Server::both() {
        let app = server.app("").await;
        for cookie in ["", "session_id=", "session_id=unknown", "other=1"] {
            let (status, body) = get(&app, "/perl/user", cookie).await;
            assert_eq!((status, body.as_str()), (Status::Ok, "nobody"), "{cookie}");
            let (status, _) = get(&app, "/perl/keys", cookie).await;
            assert_eq!(status, Status::Unauthorized, "{cookie}");
        }
    }
}

#[async_test]
async fn a_hostile_cookie_never_reaches_the_server() {
    for server in Server::both() {
        // With an empty prefix, every key of the server can be read.
        let app = server.app(r#",key_prefix="""#).await;
        server.keep("session:0123", "nfreeze", "session");
        for key in ["..", "a..b", "a/../b"] {
            server.keep(key, "nfreeze", "session");
        }
        let before = server.asked();
        let long = "a".repeat(10_000);
        for value in [
            "session:0123",
            "session%3a0123",
            "session%3A0123",
            "..",
            "a..b",
            "a/../b",
            "%2e%2E",
            "a b",
            "a%20b",
            "a%0d%0aflush_all",
            "a\tb",
            "%00",
            "*",
            "?",
            "[a-z]*",
            "{a}b",
            "\"a\"",
            "\u{fc}",
            "%ff%fe",
            "$(id)",
            &long,
        ] {
            let (status, body) = get(&app, "/perl/user", &format!("session_id={value}")).await;
            assert_eq!((status, body.as_str()), (Status::Ok, "nobody"), "{value:?}");
        }
        assert_eq!(server.asked(), before, "no key was requested");
    }
}

#[test]
fn the_first_cookie_counts_over_tcp_as_in_perl() {
    let server = Server::memcached();
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let settings = server.settings(server.place().1, "");
    let served = Served::built(settings, |rocket| rocket.mount("/perl", perl()));
    let ask = |cookie: String| {
        let url = format!("http://127.0.0.1:{}/perl/user", served.port);
        let response = ureq::get(url).header("Cookie", cookie).call();
        response.unwrap().body_mut().read_to_string().unwrap()
    };
    assert_eq!(ask(format!("a=b; session_id={ID}; c=d")), r#"Some("ann")"#);
    assert_eq!(
        ask(format!("session_id={ID}; session_id=x")),
        r#"Some("ann")"#
    );
    assert_eq!(ask(format!("session_id=x; session_id={ID}")), "nobody");
    assert_eq!(ask(format!("Session_ID={ID}")), "nobody");
    assert_eq!(ask(format!("session%5Fid={ID}")), "nobody");
}

#[test]
fn unusual_cookie_bytes_over_tcp_never_reach_the_server() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let settings = server.settings(server.place().1, "");
        let served = Served::built(settings, |rocket| rocket.mount("/perl", perl()));
        let ask = |cookie: &[u8]| {
            let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
            let head =
                b"GET /perl/user HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: ";
            stream
                .write_all(&[head, cookie, b"\r\n\r\n"].concat())
                .unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).unwrap();
            String::from_utf8_lossy(&response).into_owned()
        };
        assert!(ask(format!("session_id={ID}").as_bytes()).ends_with(r#"Some("ann")"#));
        let before = server.asked();
        for bytes in [
            &b"a\r\nflush_all"[..],
            b"a\nflush_all",
            b"a\rflush_all",
            b"a\r\n\tflush_all",
            b"a\0b",
            b"\xff\xfe",
            b"a\x7fb",
        ] {
            // The part before the bad character is an id that would otherwise be looked up.
            let response = ask(&[b"session_id=", ID.as_bytes(), bytes].concat());
            assert!(!response.contains("ann"), "{bytes:?}: {response}");
        }
        assert_eq!(server.asked(), before, "no key was requested");
    }
}

#[async_test]
async fn an_invalid_perl_session_is_an_error_without_data() {
    log::keep();
    for server in Server::both() {
        let app = server.app("").await;
        let key = format!("perlsess::{ID}");
        let cookie = format!("session_id={ID}");
        for (how, what, path) in [
            ("raw", "no image, and secret4711", "/perl/user"),
            ("nfreeze", "list", "/perl/user"),
            ("nfreeze", "cycle", "/perl/whole"),
        ] {
            server.keep(&key, how, what);
            let (status, body) = get(&app, path, &cookie).await;
            assert_eq!(status, Status::InternalServerError, "{what}: {body}");
            assert!(!body.contains("secret4711") && !body.contains("ann"));
        }
        // The other parts of a value that contains itself can be read.
        assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
    }
    assert!(!log::lines_with("cannot read the Perl session").is_empty());
    assert!(log::lines_with("secret4711").is_empty());
    assert!(log::lines_with(ID).is_empty());
}

#[async_test]
async fn a_key_of_another_type_is_an_error() {
    let redis = Redis::start();
    redis.cli(&["LPUSH", &format!("perlsess::{ID}"), "a"]);
    let server = Server::Redis(redis);
    let app = server.app("").await;
    let (status, _) = get(&app, "/perl/user", &format!("session_id={ID}")).await;
    assert_eq!(status, Status::InternalServerError);
}

#[async_test]
async fn a_perl_session_above_its_size_limit_is_an_error() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let app = server.app(",size=20").await;
        let (status, _) = get(&app, "/perl/user", &format!("session_id={ID}")).await;
        assert_eq!(status, Status::InternalServerError);
    }
}

#[async_test]
async fn a_perl_session_that_expands_too_much_is_an_error() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "shared");
        // 12 KB that become 1.4 MB.
        for (more, status) in [
            ("", Status::InternalServerError),
            (",max_growth=80", Status::InternalServerError),
            (",max_growth=200", Status::Ok),
        ] {
            let app = server.app(more).await;
            let (found, _) = get(&app, "/perl/whole", &format!("session_id={ID}")).await;
            assert_eq!(found, status, "{more}");
            assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
        }
    }
}

#[async_test]
async fn a_frozen_server_is_a_503_in_time() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let proxy = Proxy::to(server.place().1);
        let settings = server.settings(proxy.port, "");
        let app = App::built(
            |figment| {
                settings(figment)
                    .merge(("sessions.store_timeout", 400))
                    // That setting is for the sessions of this application.
                    .merge(("sessions.when_store_is_down", "anonymous"))
            },
            |rocket| rocket.mount("/perl", perl()),
        )
        .await;
        assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
        proxy.lose();
        let visitor = app.visitor();
        visitor.set_cookie("session_id", ID);
        let started = Instant::now();
        let response = visitor.get("/perl/user").await;
        assert_eq!(response.status, Status::ServiceUnavailable);
        assert!(response.header("Retry-After").is_some());
        // Rocket does not distinguish an optional guard that fails from one that forwards.
        let response = visitor.get("/perl/either").await;
        assert_eq!(response.body, "Err(Unavailable) false");
        assert!(started.elapsed() < SOON, "a call may take 400 ms");
        // Visitors without such a cookie are not affected.
        assert_eq!(app.visitor().get("/perl/user").await.body, "nobody");
    }
}

#[async_test]
async fn all_memcached_servers_are_queried_and_a_dead_one_is_not_awaited() {
    let servers = [(); 3].map(|()| Server::memcached());
    let dead = Proxy::to(servers[0].place().1);
    let places = servers.iter().map(|server| server.place().1);
    let places: Vec<_> = places
        .chain([dead.port])
        .map(|port| format!("\"127.0.0.1:{port}\""))
        .collect();
    dead.lose();
    let text = format!(
        r#"sessions={{store_timeout=600000,perl={{cookie_name="session_id",servers=[{}]}}}}"#,
        places.join(",")
    );
    let app = App::built(
        |figment| figment.merge(Toml::string(&text)),
        |rocket| rocket.mount("/perl", perl()),
    )
    .await;
    for (server, id) in servers.iter().zip(["one", "two", "three"]) {
        server.keep(&format!("perlsess::{id}"), "nfreeze", "session");
        let (_, body) = get(&app, "/perl/user", &format!("session_id={id}")).await;
        assert_eq!(body, r#"Some("ann")"#);
    }
}

#[async_test]
async fn perl_sessions_default_to_the_store_of_the_application() {
    for server in Server::both() {
        server.keep(&format!("mine:{ID}"), "nfreeze", "session");
        let (kind, port) = server.place();
        let place = match kind {
            "redis" => format!(r#"redis={{url="redis://127.0.0.1:{port}"}}"#),
            _ => format!(r#"memcached={{servers=["127.0.0.1:{port}"]}}"#),
        };
        for store in [
            format!(r#"store="{kind}""#),
            format!(r#"store="memory",perl.store="{kind}""#),
        ] {
            let text = format!(
                r#"sessions={{{store},{place},perl.cookie_name="session_id",perl.key_prefix="mine:"}}"#
            );
            let rocket = rocket::custom(figment().merge(Toml::string(&text)))
                .mount("/perl", perl())
                .attach(Sessions::fairing());
            let client = rocket::local::asynchronous::Client::untracked(rocket)
                .await
                .unwrap();
            let request = client.get("/perl/user");
            let response = request
                .header(Header::new("Cookie", format!("session_id={ID}")))
                .dispatch()
                .await;
            assert_eq!(response.into_string().await.unwrap(), r#"Some("ann")"#);
        }
    }
}

#[async_test]
async fn invalid_settings_stop_the_launch() {
    log::keep();
    for (settings, key) in [
        (r#"url="redis://127.0.0.1:1""#, "sessions.perl.cookie_name"),
        (
            r#"cookie_name="a b",url="redis://h""#,
            "sessions.perl.cookie_name",
        ),
        (r#"cookie_name="a""#, "sessions.perl.store"),
        (
            r#"cookie_name="a",store="directory""#,
            "sessions.perl.store",
        ),
        (
            r#"cookie_name="a",url="redis://h",servers=["h:1"]"#,
            "sessions.perl",
        ),
        (r#"cookie_name="a",url="nonsense""#, "sessions.perl.url"),
        (r#"cookie_name="a",servers=["h"]"#, "sessions.perl.servers"),
        (
            r#"cookie_name="a",url="redis://h",key_prefix="a b""#,
            "sessions.perl.key_prefix",
        ),
        (
            r#"cookie_name="a",url="redis://h",size=0"#,
            "sessions.perl.size",
        ),
        (
            r#"cookie_name="a",url="redis://h",size=9223372036854775807"#,
            "sessions.perl.size",
        ),
        (
            r#"cookie_name="a",url="redis://h",max_growth=0"#,
            "sessions.perl.max_growth",
        ),
        (r#"cookie="a""#, "sessions.perl.cookie"),
    ] {
        let text = format!(r#"sessions.perl={{{settings}}}"#);
        let before = log::lines_with(key).len();
        let rocket = rocket::custom(figment().merge(Toml::string(&text)))
            .attach(Sessions::with(MemoryStore::new()));
        let error = rocket.ignite().await.expect_err("this cannot work");
        assert!(matches!(error.kind(), FailedFairings(_)), "{settings}");
        assert!(log::lines_with(key).len() > before, "{settings}");
    }
}

#[async_test]
async fn the_guard_without_its_setting_stops_the_launch() {
    log::keep();
    let rocket = rocket::custom(figment())
        .mount("/", routes![user])
        .attach(Sessions::with(MemoryStore::new()));
    let error = rocket.ignite().await.expect_err("this cannot work");
    assert!(matches!(error.kind(), SentinelAborts(_)));
    assert!(!log::lines_with("[default.sessions.perl]").is_empty());
}

#[async_test]
async fn a_cluster_and_a_sentinel_master_are_read_too() {
    let read = async |redis: String, id: &str| {
        let text = format!(
            r#"sessions={{redis={{{redis}}},perl={{cookie_name="session_id",store="redis"}}}}"#
        );
        let app = App::built(
            |figment| figment.merge(Toml::string(&text)),
            |rocket| rocket.mount("/perl", perl()),
        )
        .await;
        let found = get(&app, "/perl/user", &format!("session_id={id}")).await;
        let (status, _) = get(&app, "/perl/keys", "session_id=unknown").await;
        assert_eq!(found, (Status::Ok, r#"Some("ann")"#.into()));
        assert_eq!(status, Status::Unauthorized);
    };

    // Its keys are on different nodes.
    let urls = Cluster::shared();
    for id in ["one", "two", "three", "four"] {
        let took = urls.iter().filter(|url| {
            let port = url.rsplit(':').next().expect("there is one");
            let port = port.parse().expect("it is a number");
            keep_at(
                "redis",
                port,
                &format!("perlsess::{id}"),
                "nfreeze",
                "session",
            )
            .is_ok()
        });
        assert_eq!(took.count(), 1, "one node has the key");
        read(format!("urls={urls:?}"), id).await;
    }

    let set = Sentinels::start();
    let port = set.servers[0].port;
    keep_at(
        "redis",
        port,
        &format!("perlsess::{ID}"),
        "nfreeze",
        "session",
    )
    .unwrap();
    read(
        format!(r#"sentinels={:?},master="mymaster""#, set.urls()),
        ID,
    )
    .await;
}

#[async_test]
async fn the_server_receives_only_reads() {
    let server = Server::redis();
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let Server::Redis(redis) = &server else {
        unreachable!()
    };
    redis.cli(&["CONFIG", "RESETSTAT"]);
    visit(&server).await;
    let stats = redis.cli(&["INFO", "commandstats"]);
    let mut sent: Vec<&str> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next())
        // The commands of the test itself, and those that the driver sends first.
        .filter(|name| !["config|resetstat", "hello", "client|setinfo"].contains(name))
        .collect();
    sent.sort_unstable();
    assert_eq!(sent, ["getrange"]);

    let server = Server::memcached();
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let Server::Memcached(memcached) = &server else {
        unreachable!()
    };
    let stats = || {
        let stats = memcached.ask("stats", "END").into_iter();
        let changes = ["cmd_", "delete_", "incr_", "decr_", "cas_", "touch_"];
        let counts = stats.filter(|line| {
            let name = line.strip_prefix("STAT ").unwrap_or_default();
            changes.iter().any(|start| name.starts_with(start))
                && !name.starts_with("cmd_get ")
                && !name.starts_with("cmd_meta ")
        });
        counts.collect::<Vec<_>>()
    };
    let before = stats();
    assert!(
        before.iter().any(|line| line == "STAT cmd_set 1"),
        "{before:?}"
    );
    visit(&server).await;
    assert_eq!(stats(), before);
}

/// Sends every kind of request: with readable, unknown and broken sessions, and with invalid ids.
async fn visit(server: &Server) {
    let app = server.app("").await;
    let known = format!("session_id={ID}");
    for path in ["/perl/user", "/perl/twice", "/perl/whole", "/perl/keys"] {
        assert_eq!(get(&app, path, &known).await.0, Status::Ok, "{path}");
    }
    let (status, _) = get(&app, "/perl/classes", "session_id=unknown").await;
    assert_eq!(status, Status::Unauthorized);
    let (status, _) = get(&app, "/perl/keys", "session_id=a%20b").await;
    assert_eq!(status, Status::Unauthorized);
}
