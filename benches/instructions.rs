//! The instructions of a request, in addition to a bare route that receives the same cookie.
//!
//! Counted by valgrind's callgrind, under which this program runs itself: the count is the same on
//! every run, whatever else the machine does.

#![allow(missing_docs)]

mod app;

use std::process::Command;

use app::{App, ROUTES};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, counted, route, times] if counted == "counted" => {
            let times: u32 = times.parse().expect("it is a number");
            rocket::async_test(async {
                let app = App::launch().await;
                for _ in 0..times {
                    app.ask(route, || 0).await;
                }
            });
        }
        _ => compare(),
    }
}

fn compare() {
    let mut floor = None;
    for route in ROUTES {
        // The difference of two runs omits the program's start and end.
        let each = (count(route, 1500) - count(route, 500)) / 1000;
        let floor = *floor.get_or_insert(each);
        println!(
            "{route:<10} {each:>6} instructions, {:>6} over the bare route",
            each - floor
        );
    }
}

fn count(route: &str, times: u32) -> i64 {
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program);
    let output = valgrind
        .args(["counted", route, &times.to_string()])
        .output();
    let output = output.expect("valgrind is needed: apt-get install valgrind");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = told
        .lines()
        .find_map(|line| line.split("Collected :").nth(1));
    collected
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("{told}"))
}
