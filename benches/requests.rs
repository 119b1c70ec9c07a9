//! The time of a request through Rocket's local client, next to a bare route that receives the same cookie.
//! `cargo bench --bench requests`

#![allow(missing_docs)]

mod app;

use app::{App, ROUTES};
use divan::Bencher;
use rocket::tokio::runtime::Builder;
use rocket_session_kit::MemoryStore;

fn main() {
    divan::main();
}

#[divan::bench(args = ROUTES)]
fn request(bencher: Bencher<'_, '_>, route: &str) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let app = runtime.block_on(App::launch(MemoryStore::new()));
    bencher.bench_local(|| runtime.block_on(app.ask(route, || 0)));
}
