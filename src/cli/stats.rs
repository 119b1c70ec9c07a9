//! The command `stats`, which counts the sessions, and draws their ages and sizes.

use clap::Args;
use rocket::futures::TryStreamExt;
use serde::Serialize;

use super::application::Application;
use super::failure::{Failure, Outcome};
use super::listed::Kind;
use super::progress::Progress;
use super::text;

/// Count the sessions, and draw their ages and sizes.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit stats\n  \
    rocket-session-kit stats --json")]
pub(super) struct Stats {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The upper ends of the classes of ages, in seconds. A last class has the rest.
const AGES: [u64; 8] = [
    MINUTE,
    10 * MINUTE,
    HOUR,
    6 * HOUR,
    DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
];

/// The upper ends of the classes of sizes, in bytes.
const SIZES: [u64; 7] = [256, 512, 1024, 4096, 16_384, 65_536, 1_048_576];

/// How many characters the longest bar has.
const BAR: u64 = 40;

/// What is in the store.
#[derive(Default, Serialize)]
struct Counts {
    live: u64,
    of_users: u64,
    anonymous: u64,
    expired: u64,
    emptied: u64,
    tombstones: u64,
    copies_of_ended: u64,
    unreadable: u64,
    /// The bytes of the live sessions.
    bytes: u64,
    largest: u64,
    /// Since the session began.
    ages: Histogram<9>,
    /// Since the session was last used.
    idle: Histogram<9>,
    sizes: Histogram<8>,
}

/// How many numbers are in each of `N` classes.
struct Histogram<const N: usize> {
    ends: &'static [u64],
    counts: [u64; N],
}

impl Default for Histogram<9> {
    fn default() -> Self {
        let (ends, counts) = (&AGES[..], [0; 9]);
        Self { ends, counts }
    }
}

impl Default for Histogram<8> {
    fn default() -> Self {
        let (ends, counts) = (&SIZES[..], [0; 8]);
        Self { ends, counts }
    }
}

impl<const N: usize> Serialize for Histogram<N> {
    /// Writes a list of `[end, count]`, where the end of the last class is `null`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ends = self.ends.iter().copied().map(Some).chain([None]);
        serializer.collect_seq(ends.zip(self.counts))
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&mut self, number: u64) {
        let class = self.ends.iter().position(|end| number < *end);
        self.counts[class.unwrap_or(N - 1)] += 1;
    }

    fn draw(&self, title: &str, unit: impl Fn(u64) -> String) -> String {
        let longest = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let mut lines = format!("\n{title}\n");
        for (class, count) in self.counts.iter().enumerate() {
            let label = match self.ends.get(class) {
                Some(end) => format!("below {}", unit(*end)),
                None => format!("{} and more", unit(self.ends[class - 1])),
            };
            // At least one character for at least one session.
            let bar = "#".repeat((count * BAR).div_ceil(longest) as usize);
            lines += format!("  {label:<17} {count:>9}  {bar}").trim_end();
            lines.push('\n');
        }
        lines
    }
}

impl Stats {
    pub(super) async fn run(&self, application: &Application) -> Outcome {
        let counts = count(application).await?;
        if self.json {
            let json = serde_json::to_string(&counts);
            let json =
                json.map_err(|_| Failure::Failed("cannot write the counts as JSON".into()))?;
            return text::print(format!("{json}\n").as_bytes());
        }
        text::print(counts.page().as_bytes())
    }
}

async fn count(application: &Application) -> Outcome<Counts> {
    let progress = Progress::of("entries counted");
    let mut counts = Counts::default();
    let mut entries = application.entries();
    while let Some(entry) = entries.try_next().await? {
        progress.tick();
        let of_kind = match entry.kind {
            Kind::Live => &mut counts.live,
            Kind::Expired => &mut counts.expired,
            Kind::Emptied => &mut counts.emptied,
            Kind::CopyOfEnded => &mut counts.copies_of_ended,
            Kind::Tombstone => &mut counts.tombstones,
            Kind::Unreadable => &mut counts.unreadable,
        };
        *of_kind += 1;
        if let Some(record) = entry.record.filter(|_| entry.kind == Kind::Live) {
            match record.user() {
                Some(_) => counts.of_users += 1,
                None => counts.anonymous += 1,
            }
            let now = application.manager.clock.seconds();
            counts.bytes += entry.size;
            counts.largest = counts.largest.max(entry.size);
            counts.ages.add(now.saturating_sub(record.created));
            counts.idle.add(now.saturating_sub(record.accessed));
            counts.sizes.add(entry.size);
        }
    }
    Ok(counts)
}

impl Counts {
    fn page(&self) -> String {
        let mean = self.bytes / self.live.max(1);
        let mut page = String::new();
        for (name, number) in [
            ("live sessions", self.live),
            ("  of users", self.of_users),
            ("  anonymous", self.anonymous),
            ("expired", self.expired),
            ("emptied", self.emptied),
            ("tombstones", self.tombstones),
            ("copies of ended", self.copies_of_ended),
            ("unreadable", self.unreadable),
        ] {
            page += &format!("{name:<19} {number:>9}\n");
        }
        for (name, size) in [
            ("all", self.bytes),
            ("mean", mean),
            ("largest", self.largest),
        ] {
            page += &format!("{:<19} {:>9}\n", format!("size, {name}"), text::size(size));
        }
        page += &self.ages.draw("age, since the session began", text::short);
        page += &self
            .idle
            .draw("idle, since the session was last used", text::short);
        page += &self.sizes.draw("size", text::size);
        page
    }
}
