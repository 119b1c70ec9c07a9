//! How long requests take as their session grows, through Rocket's local client.

use std::time::Instant;

use rocket::http::{Header, Status};
use rocket::local::asynchronous::Client;
use rocket::tokio::runtime::Builder;

use crate::Scale;
use crate::latencies::Latencies;
use crate::place::Place;
use crate::serve::application;
use crate::table::{Table, figure};

/// The sessions: what grows, how large it is, the number of values, and the bytes of each.
const SHAPES: [(&str, &str, usize, usize); 8] = [
    ("values", "1", 1, 30),
    ("values", "10", 10, 30),
    ("values", "100", 100, 30),
    ("values", "1000", 1000, 30),
    ("kB", "0.5", 10, 40),
    ("kB", "5", 10, 540),
    ("kB", "50", 10, 5_540),
    ("kB", "250", 10, 27_760),
];

pub(crate) fn measure(scale: Scale) {
    let columns = ["store", "of", "size", "request", "median_us", "p99_us"];
    let mut table = Table::new("size", 4, &columns);
    for store in scale.stores() {
        // Rocket and the store get what they have in a server: two threads.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let place = Place::new(store);
        runtime.block_on(async {
            let rocket = application(&place.address(), 0);
            let client = Client::untracked(rocket).await.expect("it launches");
            for (of, size, values, bytes) in SHAPES {
                let fill = format!("/values/{values}/{bytes}");
                let response = client.get(fill).dispatch().await;
                let cookie = response.headers().get_one("Set-Cookie");
                let cookie = cookie.expect("it sets a cookie").split(';').next();
                let cookie = cookie.unwrap_or_default().to_owned();
                drop(response);
                for path in ["bare", "read", "change"] {
                    let taken = requests(&client, path, &cookie, scale).await;
                    table.row([
                        store.into(),
                        of.into(),
                        size.into(),
                        path.into(),
                        figure(taken.median()),
                        figure(taken.p99()),
                    ]);
                }
            }
        });
    }
    table.end(scale);
}

async fn requests(client: &Client, path: &str, cookie: &str, scale: Scale) -> Latencies {
    let mut taken = Vec::new();
    let started = Instant::now();
    while started.elapsed() < scale.seconds(0.7) || taken.len() < 100 {
        let request = client.get(format!("/{path}"));
        let request = request.header(Header::new("Cookie", cookie.to_owned()));
        let sent = Instant::now();
        let response = request.dispatch().await;
        taken.push(sent.elapsed());
        assert_eq!(response.status(), Status::Ok);
    }
    // The first tenth warms up.
    Latencies::new(taken.split_off(taken.len() / 10))
}
