//! Counts the visits of each visitor, and shows the figures of the sessions to Prometheus:
//! `cargo run --features metrics --example metrics`, then `curl localhost:8000/metrics`.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use rocket::{Build, Rocket, State, get, routes};
use rocket_session_kit::{Result, Session, SessionMetrics, Sessions};

/// The bounds of the histogram, in seconds.
const SECONDS: [f64; 8] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];

#[get("/")]
fn index(session: &Session) -> Result<String> {
    let visits = session.increment("visits", 1)?;
    Ok(format!("visits: {visits}\n"))
}

/// Keep this page from the public, for example by a rule of the proxy.
#[get("/metrics")]
fn metrics(figures: &State<PrometheusHandle>) -> String {
    figures.run_upkeep();
    figures.render()
}

/// Installs the recorder of the process. Each `SessionMetrics` records there.
fn figures() -> Result<PrometheusHandle, BuildError> {
    let store_calls = Matcher::Full("rocket_session_store_call_seconds".into());
    PrometheusBuilder::new()
        .set_buckets_for_metric(store_calls, &SECONDS)?
        .install_recorder()
}

pub(crate) fn application(figures: PrometheusHandle) -> Rocket<Build> {
    rocket::build()
        .manage(figures)
        .mount("/", routes![index, metrics])
        .attach(Sessions::fairing().events(SessionMetrics))
}

#[rocket::launch]
pub(crate) fn rocket() -> _ {
    application(figures().expect("no other recorder is installed"))
}
