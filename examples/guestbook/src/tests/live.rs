//! The live stream, on an asynchronous client, which reads it piece by piece.

use rocket::local::asynchronous::{Client, LocalResponse};
use rocket::tokio::io::AsyncReadExt;
use rocket_session_kit::testing::{log_in, with_session};

use super::*;

async fn listener(site: &Site) -> Client {
    Client::tracked(site.process()).await.unwrap()
}

/// Reads `stream` until `text` has come.
async fn read_until(stream: &mut LocalResponse<'_>, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(length > 0, "the stream ended without {text}: {read}");
        read.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    read
}

async fn read_to_end(stream: &mut LocalResponse<'_>) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    rest
}

#[rocket::async_test]
async fn new_entries_come_until_the_session_ends_anywhere() {
    let site = Site::new();
    let client = listener(&site).await;
    let database: &crate::database::Database = client.rocket().state().unwrap();
    database.add_account("ada", "").await.unwrap();
    log_in(&client, "ada").await;

    let mut stream = client.get("/live/events?after=0").dispatch().await;
    let hello = read_until(&mut stream, "\n\n").await;
    assert!(
        hello.contains("event:hello") && hello.contains("data:member"),
        "{hello}"
    );
    database.add_entry("ada", "Hello!").await.unwrap();
    let entry = read_until(&mut stream, "\n\n").await;
    assert!(entry.contains("event:entry") && entry.contains("Hello!") && entry.contains("id:1"));

    // Another process ends the session.
    let sessions: &Sessions = client.rocket().state().unwrap();
    sessions.end_all_of("ada", None).await.unwrap();
    assert!(read_to_end(&mut stream).await.contains("event:end"));
}

#[rocket::async_test]
async fn a_stream_ends_quietly_when_the_server_stops() {
    let site = Site::new();
    let client = listener(&site).await;
    with_session(&client, |session| session.insert("visits", 1))
        .await
        .unwrap();
    let mut stream = client.get("/live/events?after=0").dispatch().await;
    let hello = read_until(&mut stream, "\n\n").await;
    assert!(hello.contains("data:guest"), "{hello}");
    client.rocket().shutdown().notify();
    assert!(!read_to_end(&mut stream).await.contains("event:end"));
}

#[rocket::async_test]
async fn a_stream_pauses_while_the_store_is_down() {
    let site = Site::new();
    let client = listener(&site).await;
    with_session(&client, |session| session.insert("visits", 1))
        .await
        .unwrap();
    let mut stream = client.get("/live/events?after=0").dispatch().await;
    read_until(&mut stream, "\n\n").await;
    site.store.fail(Act::Load);
    assert!(!read_to_end(&mut stream).await.contains("event:end"));
}
