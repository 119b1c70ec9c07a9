//! A tour of all pages, with plausible contents.

use super::{Book, PASSWORD, Visitor};
use crate::support::redis::Redis;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0";

/// Leads a visitor to every page of a guest book with contents. `see` gets the name of the page and the status that it should have.
pub(crate) fn guided_tour(mut see: impl FnMut(&Visitor<'_>, &str, u64)) {
    let mut redis = Redis::start();
    let book = Book::on(&redis, 2_000);
    let guide = book.visitor();
    fill(&guide);
    let mut visit = |name: &str, path: &str, status: u64| {
        guide.visit(path);
        see(&guide, name, status);
    };
    visit("index", "/", 200);
    visit("sessions", "/sessions", 200);
    visit("admin-sessions", "/admin/sessions", 200);
    visit("session", "/session", 200);
    visit("live", "/live", 200);
    visit("not-found", "/no/such/page", 404);
    guide.visit("/");
    guide.run("document.querySelector('#entry-form').noValidate = true");
    guide.send("#entry-form", &[("text", " ")]);
    see(&guide, "index-errors", 422);
    guide.visit("/");
    guide.run("document.querySelector('#entry-form [name=text]').name = 'other'");
    guide.click("#entry-form [type=submit]");
    see(&guide, "unprocessable", 422);
    guide.visit("/");
    guide.run("document.querySelector('#sign-out-form [name=csrf_token]').value = 'forged'");
    guide.click("#sign-out-form [type=submit]");
    see(&guide, "forged", 403);
    redis.process().signal("STOP");
    guide.visit("/sessions");
    see(&guide, "unavailable", 503);
    redis.process().signal("CONT");
    guide.wait_until_well();
    guide.visit("/");
    guide.sign_out();
    let mut visit = |name: &str, path: &str, status: u64| {
        guide.visit(path);
        see(&guide, name, status);
    };
    visit("signed-out", "/", 200);
    visit("unauthorized", "/sessions", 401);
    visit("sign-up", "/sign-up", 200);
    guide.run("document.querySelector('#sign-up-form').noValidate = true");
    guide.send(
        "#sign-up-form",
        &[
            ("name", "ada"),
            ("password", "short"),
            ("password_again", "other"),
        ],
    );
    see(&guide, "sign-up-errors", 422);
    guide.visit("/sign-in");
    see(&guide, "sign-in", 200);
    guide.fill_sign_in("ada", "not the password");
    see(&guide, "sign-in-errors", 422);
    guide.sign_in("grace");
    guide.visit("/admin/sessions");
    see(&guide, "forbidden", 403);
    guide.sign_out();
    for _ in 0..30 {
        guide.visit("/sign-in");
        guide.fill_sign_in("ada", "not the password");
        if guide.status() == 429 {
            break;
        }
    }
    see(&guide, "too-many", 429);
    book.break_database();
    guide.visit("/");
    see(&guide, "error", 500);
}

/// Entries of several members, and sessions in several browsers.
fn fill(guide: &Visitor<'_>) {
    let entries = [
        (
            "ada",
            IPHONE,
            "What a friendly place. The tea was hot and the counter counts.",
        ),
        (
            "grace",
            FIREFOX,
            "I found no bug today.\nI shall look again tomorrow.",
        ),
        (
            "linus",
            EDGE,
            "Signed in on three machines, signed out on all of them with one click.",
        ),
    ];
    for (name, browser, text) in entries {
        guide.call_itself(browser);
        guide.sign_up(name);
        guide.write(text);
        guide.forget_cookies();
    }
    guide.call_itself(FIREFOX);
    guide.sign_in("ada");
    guide.write("Back again, from another browser.");
    guide.forget_cookies();
    guide.call_itself("");
    guide.visit("/sign-in");
    guide.press("#sign-in-form [name=remember]");
    guide.fill_sign_in("ada", PASSWORD);
}
