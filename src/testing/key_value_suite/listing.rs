//! The clauses about a whole namespace: listed and cleared.

use rocket::futures::future::join_all;

use super::*;

/// A thousand names are listed, each once and unchanged.
pub async fn every_name_is_listed_once(subject: Entries) {
    let mut names: Vec<Vec<u8>> = (0..1000_u32)
        .map(|at| [&b"n\xff/"[..], at.to_string().as_bytes()].concat())
        .collect();
    for some in names.chunks(100) {
        let keys: Vec<Key> = some.iter().map(key).collect();
        join_all(keys.iter().map(|key| subject.set(key, b"x", HOUR))).await;
    }
    names.push(Vec::new());
    subject.set(&key(""), b"x", None).await;
    names.sort();
    assert_eq!(subject.names(&namespace()).await, names);
}

/// Clearing spares other namespaces, even those with a similar name.
pub async fn clearing_spares_other_namespaces(subject: Entries) {
    let others =
        ["suit", "suite-2", "s"].map(|name| Namespace::new(name).expect("the name is valid"));
    for namespace in others.iter().chain([&namespace()]) {
        for name in ["one", "two", "three"] {
            subject.set(&namespace.key(name), b"x", HOUR).await;
        }
    }
    subject.set(&key("x".repeat(900)), b"hashed", HOUR).await;
    let cleared = subject.store.clear(&namespace()).await;
    assert_eq!(cleared.expect("the store clears"), 4);
    assert_eq!(subject.get(&key("x".repeat(900))).await, None);
    assert!(subject.names(&namespace()).await.is_empty());
    for other in &others {
        assert_eq!(subject.names(other).await.len(), 3);
    }
    let again = subject.store.clear(&namespace()).await;
    assert_eq!(again.expect("the store clears"), 0);
}
