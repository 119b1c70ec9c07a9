//! The heap allocations of a request, in addition to a bare route that receives the same cookie.

#![allow(missing_docs)]

mod app;

use app::{App, ROUTES};
use rocket_session_kit::MemoryStore;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    rocket::async_test(async {
        let app = App::launch(MemoryStore::new()).await;
        let mut floor = None;
        for route in ROUTES {
            let mut counts = Vec::new();
            for _ in 0..101 {
                let (before, after) = app.ask(route, || dhat::HeapStats::get().total_blocks).await;
                counts.push(after - before);
            }
            counts.sort_unstable();
            let each = counts[counts.len() / 2];
            let floor = *floor.get_or_insert(each);
            println!(
                "{route:<10} {each:>4} allocations, {:>4} over the bare route",
                each - floor
            );
        }
    });
}
