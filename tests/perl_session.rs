//! The session of a Perl site: what Perl itself keeps on real servers is read, and never written.

use std::process::{Command, Stdio};

use rocket::error::ErrorKind::{FailedFairings, SentinelAborts};
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::http::{Header, Status};
use rocket::{Route, async_test, get, routes};
use rocket_session_kit::{MemoryStore, PerlSession, Result, Sessions};
use serde::Deserialize;

use crate::support::memcached::Memcached;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::served::Served;
use crate::support::{Answer, App, figment, log};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// What Perl does: freezes a value, and keeps it on the server as its clients do.
const KEEP: &str = r#"
use strict; use warnings; use utf8;
use IO::Socket::INET; use Storable qw(freeze nfreeze);
my ($kind, $port, $key, $how, $what) = @ARGV;
my %known = (
    session => { user => "ann", cart => ["tea", "Müsli"], visits => 3, price => 1.5, nothing => undef,
                 address => { city => "Zürich" } },
    object => bless({ user => "ann", when => bless([2026, 11], "Local::Date") }, "Local::Session"),
    list => [1, 2],
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
my $answer = <$server>;
die $answer unless $answer =~ /^(\+OK|STORED)/;
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

    /// Lets Perl keep `what`, frozen as it says `how`, under `key`.
    fn keep(&self, key: &str, how: &str, what: &str) {
        let (kind, port) = self.place();
        let mut perl = Command::new("perl");
        perl.args(["-e", KEEP, kind, &port.to_string(), key, how, what]);
        let output = perl.stdin(Stdio::null()).output();
        let output = output.expect("this test needs `perl`, with its Storable");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "perl failed: {told}");
    }

    /// Settings that lead to the server behind `port`.
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

    /// How often it was asked for a key; and for anything that changes one.
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

fn perl() -> Vec<Route> {
    routes![user, nobody, twice, whole, typed, keys, classes]
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
    let answer = request
        .header(Header::new("Cookie", cookie.to_owned()))
        .dispatch()
        .await;
    let status = answer.status();
    (status, answer.into_string().await.unwrap_or_default())
}

async fn body(app: &App, path: &'static str) -> String {
    let (status, body) = get(app, path, &format!("session_id={ID}")).await;
    assert_eq!(status, Status::Ok, "{path}: {body}");
    body
}

#[async_test]
async fn what_perl_keeps_is_read_as_values_with_types() {
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
async fn an_object_is_its_data_and_tells_its_class() {
    for server in Server::both() {
        let app = server.app("").await;
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "object");
        assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
        let classes = body(&app, "/perl/classes").await;
        assert_eq!(classes, r#"Some("Local::Session") Some("Local::Date")"#);
    }
}

#[async_test]
async fn one_request_reads_once_and_nothing_is_ever_written() {
    for server in Server::both() {
        let app = server.app("").await;
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let before = server.asked();
        let twice = body(&app, "/perl/twice").await;
        assert_eq!(twice, r#"[Some("ann"), Some("ann")] PerlSession { .. }"#);
        let after = server.asked();
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0));
        assert_eq!(body(&app, "/bare").await, "bare");
        assert_eq!(server.asked(), after, "who does not ask costs nothing");
    }
}

#[async_test]
async fn an_answer_that_asked_for_it_varies_by_cookie() {
    let server = Server::redis();
    let app = server.app("").await;
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let visitor = app.visitor();
    visitor.set_cookie("session_id", ID);
    let answer: Answer = visitor.get("/perl/user").await;
    assert_eq!(answer.header("Vary"), Some("Cookie"));
    assert_eq!(answer.header("Set-Cookie"), None);
    assert_eq!(visitor.get("/bare").await.header("Vary"), None);
    // Nobody is known by it here.
    assert_eq!(app.visitor().get("/perl/user").await.body, "nobody");
    assert_eq!(
        app.visitor().get("/perl/user").await.header("Vary"),
        Some("Cookie")
    );
}

#[async_test]
async fn whom_the_perl_site_does_not_know_is_passed_over() {
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
        // Whatever is asked for begins with nothing: all keys of the server are in reach.
        let app = server.app(r#",key_prefix="""#).await;
        server.keep("session:0123", "nfreeze", "session");
        server.keep("a/../b", "nfreeze", "session");
        let before = server.asked();
        let long = "a".repeat(10_000);
        for value in [
            "session:0123",
            "session%3a0123",
            "session%3A0123",
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
        assert_eq!(server.asked(), before, "nothing was asked for");
    }
}

#[test]
fn on_a_real_socket_the_first_cookie_counts_as_in_perl() {
    let server = Server::memcached();
    server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
    let settings = server.settings(server.place().1, "");
    let served = Served::built(settings, |rocket| rocket.mount("/perl", perl()));
    let ask = |cookie: String| {
        let url = format!("http://127.0.0.1:{}/perl/user", served.port);
        let answer = ureq::get(url).header("Cookie", cookie).call();
        answer.unwrap().body_mut().read_to_string().unwrap()
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

#[async_test]
async fn what_is_no_session_is_an_error_without_data() {
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
        // The rest of what contains itself is there.
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
async fn what_is_larger_than_its_limit_is_an_error() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let app = server.app(",size=20").await;
        let (status, _) = get(&app, "/perl/user", &format!("session_id={ID}")).await;
        assert_eq!(status, Status::InternalServerError);
    }
}

#[async_test]
async fn a_server_that_is_frozen_is_a_503_in_time() {
    for server in Server::both() {
        server.keep(&format!("perlsess::{ID}"), "nfreeze", "session");
        let proxy = Proxy::to(server.place().1);
        let settings = server.settings(proxy.port, "");
        let app = App::built(
            |figment| settings(figment).merge(("sessions.store_timeout", 400)),
            |rocket| rocket.mount("/perl", perl()),
        )
        .await;
        assert_eq!(body(&app, "/perl/user").await, r#"Some("ann")"#);
        proxy.lose();
        let visitor = app.visitor();
        visitor.set_cookie("session_id", ID);
        let answer = visitor.get("/perl/user").await;
        assert_eq!(answer.status, Status::ServiceUnavailable);
        assert!(answer.header("Retry-After").is_some());
        // Who comes without such a cookie does not notice.
        assert_eq!(app.visitor().get("/perl/user").await.body, "nobody");
    }
}

#[async_test]
async fn of_several_memcached_servers_each_is_asked_and_none_waited_for_in_vain() {
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
async fn it_is_where_the_sessions_are_unless_it_is_told_otherwise() {
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
            let answer = request
                .header(Header::new("Cookie", format!("session_id={ID}")))
                .dispatch()
                .await;
            assert_eq!(answer.into_string().await.unwrap(), r#"Some("ann")"#);
        }
    }
}

#[async_test]
async fn settings_that_cannot_work_stop_the_launch() {
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
