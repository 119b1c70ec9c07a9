//! A process that uses a directory of sessions beside others, and may be killed at any moment.
//!
//! `worker increment DIRECTORY ID TIMES` adds to one session; `worker write DIRECTORY ID` saves it
//! until it is killed or the session is gone; `worker load DIRECTORY ID TIMES` reads it. Each prints
//! how often it did so. `SYNC=data` and `SYNC=full` in the environment set its durability.

use std::time::Duration;

use rocket_session_kit::store::{Precondition, Save, Saved, SessionStore};
use rocket_session_kit::testing::run;
use rocket_session_kit::{DirectoryStore, Durability, SessionId};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the bytes of a session with `count` in it. A higher count makes more bytes.
fn bytes(count: u64) -> Vec<u8> {
    let rev = SessionId::random().to_hex();
    let filling = "x".repeat((count as usize * 997) % 20_000);
    let rest = json!({"expires": 99_999_999_999_u64, "v": 1, "created": 1, "accessed": 99_999_999_999_u64,
        "values": {"count": count, "filling": filling}});
    // The header comes first, and in this order.
    let rest = rest.to_string();
    let (expires, rest) = (
        r#""expires":99999999999,"#,
        rest.replace(r#""expires":99999999999,"#, ""),
    );
    format!(r#"{{"rev":"{}",{expires}{}"#, &rev[..16], &rest[1..]).into_bytes()
}

fn count(bytes: &[u8]) -> u64 {
    let record: Value = serde_json::from_slice(bytes).expect("the stored bytes are complete");
    record["values"]["count"]
        .as_u64()
        .expect("there is a count")
}

async fn increment(store: &DirectoryStore, id: &SessionId) -> Saved {
    loop {
        let Some(stored) = store.load_session(id).await.expect("the store loads") else {
            return Saved::Gone;
        };
        let bytes = bytes(count(&stored.bytes) + 1);
        let save = Save {
            bytes: &bytes,
            ttl: HOUR,
            precondition: Precondition::Revision(stored.revision),
        };
        match store.save_session(id, save).await.expect("the store saves") {
            Saved::Changed => {}
            saved => return saved,
        }
    }
}

/// Executes `arguments`, and prints how often.
pub(super) fn work(arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [act, directory, id, times] = arguments[..] else {
        panic!("usage: worker ACT DIRECTORY ID TIMES")
    };
    let store = DirectoryStore::open(directory).expect("the directory is there");
    let store = store.sync(match std::env::var("SYNC").as_deref() {
        Ok("full") => Durability::Full,
        Ok("data") => Durability::Data,
        _ => Durability::None,
    });
    let (id, times): (SessionId, u64) =
        (id.parse().expect("an id"), times.parse().expect("a number"));
    let done = run(async {
        let mut done = 0;
        for _ in 0..times {
            match act {
                "create" => {
                    let save = Save {
                        bytes: &bytes(0),
                        ttl: HOUR,
                        precondition: Precondition::Absent,
                    };
                    assert!(matches!(
                        store.save_session(&id, save).await,
                        Ok(Saved::Saved(_))
                    ));
                }
                "increment" if increment(&store, &id).await == Saved::Gone => break,
                "increment" => {}
                "load" => {
                    let stored = store.load_session(&id).await.expect("the store loads");
                    count(&stored.expect("it is there").bytes);
                }
                other => panic!("there is no act {other}"),
            }
            done += 1;
        }
        done
    });
    println!("{done}");
}
