//! A tour of all pages, with plausible contents.

use super::{Book, PASSWORD, Visitor};
use crate::support::redis::Redis;

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0";

/// A page of the tour, as it should be.
#[derive(Clone)]
pub(crate) struct Sight {
    pub(crate) name: &'static str,
    pub(crate) status: u64,
    pub(crate) title: &'static str,
}

/// Leads a visitor to every page of a guest book with contents, in one colour scheme.
pub(crate) fn guided_tour(scheme: &str, mut see: impl FnMut(&Visitor<'_>, Sight)) {
    let mut redis = Redis::start();
    let book = Book::on(&redis, 2_000);
    let guide = book.visitor();
    guide.look(scheme);
    fill(&guide);
    let mut see = |name, status, title| {
        let sight = Sight {
            name,
            status,
            title,
        };
        see(&guide, sight);
    };
    pages_of_members(&guide, &mut see);
    redis.process().signal("STOP");
    guide.visit("/sessions");
    see("unavailable", 503, "Back in a moment");
    redis.process().signal("CONT");
    guide.wait_until_well();
    guide.visit("/");
    guide.sign_out();
    pages_of_guests(&guide, &mut see);
    book.break_database();
    guide.visit("/");
    see("error", 500, "Something is broken here");
}

fn pages_of_members(guide: &Visitor<'_>, see: &mut impl FnMut(&'static str, u64, &'static str)) {
    for (name, path, title) in [
        ("index", "/", "Welcome"),
        ("sessions", "/sessions", "Where you are signed in"),
        ("admin-sessions", "/admin/sessions", "All sessions"),
        ("session", "/session", "This session"),
        ("live", "/live", "Live"),
    ] {
        guide.visit(path);
        see(name, 200, title);
    }
    guide.visit("/no/such/page");
    see("not-found", 404, "There is no such page");
    guide.visit("/");
    guide.run("document.querySelector('#entry-form').noValidate = true");
    guide.send("#entry-form", &[("text", " ")]);
    see("index-errors", 422, "Welcome");
    guide.visit("/sessions");
    guide.run("document.querySelector('form.end [name=handle]').remove()");
    guide.click("form.end button");
    see("incomplete", 422, "This form is not complete");
    guide.visit("/");
    guide.run("document.querySelector('#sign-out-form [name=csrf_token]').value = 'forged'");
    guide.click("#sign-out-form button");
    see("forged", 403, "This form was refused");
}

fn pages_of_guests(guide: &Visitor<'_>, see: &mut impl FnMut(&'static str, u64, &'static str)) {
    guide.visit("/");
    see("signed-out", 200, "Welcome");
    guide.visit("/sessions");
    see("unauthorized", 401, "Please sign in");
    guide.visit("/sign-up");
    see("sign-up", 200, "Sign up");
    guide.run("document.querySelector('#sign-up-form').noValidate = true");
    let wrong = [
        ("name", "ada!"),
        ("password", "short"),
        ("password_again", "other"),
    ];
    guide.send("#sign-up-form", &wrong);
    see("sign-up-errors", 422, "Sign up");
    guide.visit("/sign-in");
    see("sign-in", 200, "Sign in");
    guide.fill_sign_in("ada", "not the password");
    see("sign-in-errors", 422, "Sign in");
    guide.sign_in("grace");
    guide.visit("/admin/sessions");
    see("forbidden", 403, "This page is not for you");
    guide.sign_out();
    while guide.status() != 429 {
        guide.visit("/sign-in");
        guide.fill_sign_in("ada", "not the password");
        assert!([422, 429].contains(&guide.status()), "{}", guide.text());
    }
    see("too-many", 429, "Too many attempts");
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
    guide.call_itself(CHROME);
    guide.visit("/sign-in");
    guide.press("#sign-in-form [name=remember]");
    guide.fill_sign_in("ada", PASSWORD);
}
