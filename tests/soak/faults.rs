//! The faults of the store, the applications and their clocks while visitors use them.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::store::{Kind, Store};
use crate::support::process::Process;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The store's server stops for a while.
    Freeze,
    Restart,
    /// Connections are cut.
    Cut,
    /// Nothing arrives.
    Lose,
    /// Responses are late.
    Delay,
    /// There is no room left, or the server refuses writes.
    Fill,
    /// The server ends its connections.
    Disconnect,
    /// Another client locks the tables.
    Lock,
    /// Another client writes the tables anew.
    Tidy,
    /// One application stops for a while.
    Pause,
    /// One application is killed, and started again.
    Kill,
    /// One clock is set by some seconds.
    Skew,
    /// All clocks are set back by an hour, or forward by a little less than the idle timeout.
    Shift,
    /// All clocks are set forward by so much that every session expires.
    Leap,
}

impl Fault {
    fn of(kind: Kind) -> Vec<(Self, u64)> {
        use Fault::{
            Cut, Delay, Disconnect, Fill, Freeze, Kill, Leap, Lock, Lose, Pause, Restart, Shift,
            Skew, Tidy,
        };
        let mut all = vec![
            (Fill, 3),
            (Pause, 3),
            (Kill, 2),
            (Skew, 3),
            (Shift, 1),
            (Leap, 1),
        ];
        if !matches!(kind, Kind::Directory | Kind::Sqlite) {
            all.extend([(Freeze, 3), (Cut, 4), (Lose, 3), (Delay, 4)]);
            all.push((Restart, if kind == Kind::Memcached { 1 } else { 3 }));
        }
        if matches!(kind, Kind::Postgres | Kind::MariaDb) {
            all.push((Disconnect, 3));
        }
        if matches!(kind, Kind::Postgres | Kind::MariaDb | Kind::Sqlite) {
            all.extend([(Lock, 3), (Tidy, 1)]);
        }
        all
    }
}

/// Two applications, the store, and the faults that are injected.
pub(crate) struct Site<'a> {
    pub(crate) world: &'a World,
    pub(crate) kind: Kind,
    pub(crate) store: Store,
    pub(crate) apps: [Process; 2],
    pub(crate) settings: [String; 2],
    /// The time when clocks were last set forward without a disaster.
    pub(crate) shifted: Instant,
}

impl Site<'_> {
    /// Injects faults for this time.
    pub(crate) fn weather(&mut self, time: Duration, random: &mut Random) {
        let until = Instant::now() + time;
        let mut faults = Fault::of(self.kind);
        // To try out single faults, for example `SOAK_FAULTS=Fill,Kill`; `none` injects none.
        if let Ok(chosen) = std::env::var("SOAK_FAULTS") {
            faults.retain(|(fault, _)| chosen.contains(&format!("{fault:?}")));
        }
        while Instant::now() < until {
            sleep(Duration::from_millis(random.between(200, 1_500)));
            if faults.is_empty() {
                continue;
            }
            let fault = *random.weighted(&faults);
            self.world.forecast(&format!("{fault:?}"));
            self.strike(fault, random);
            self.world.forecast(&format!("{fault:?} is over"));
        }
    }

    fn strike(&mut self, fault: Fault, random: &mut Random) {
        let time = Duration::from_millis(random.between(50, 1_200));
        let app = usize::from(random.percent(50));
        let wires = self.store.wires();
        match fault {
            Fault::Freeze => self.store.freeze(time),
            Fault::Restart => {
                let forgets = self.kind == Kind::Memcached;
                if forgets {
                    self.world.disaster();
                }
                self.store.restart(time / 2, random.percent(70));
                if forgets {
                    self.world.disaster();
                }
            }
            Fault::Cut => {
                for _ in 0..random.between(1, 8) {
                    wires[app].cut();
                    sleep(time / 8);
                }
            }
            Fault::Lose => {
                wires[app].lose();
                sleep(time);
                wires[app].heal();
                // Connections that lost something would stay dead forever.
                wires[app].cut();
            }
            Fault::Delay => {
                let late = Duration::from_millis(random.between(20, 600));
                wires[app].delay(late);
                sleep(2 * time);
                wires[app].delay(Duration::ZERO);
            }
            Fault::Fill => {
                if self.store.fill() {
                    sleep(2 * time);
                }
                self.store.make_room();
            }
            Fault::Disconnect => {
                for _ in 0..random.between(1, 4) {
                    self.store.disconnect();
                    sleep(time / 8);
                }
            }
            Fault::Lock => self.store.lock(time, random.percent(50)),
            Fault::Tidy => self.store.tidy(),
            Fault::Pause => {
                self.apps[app].signal("STOP");
                sleep(time);
                self.apps[app].signal("CONT");
            }
            Fault::Kill => {
                self.world.kill();
                self.apps[app].kill();
                sleep(time / 2);
                self.apps[app] = self.world.launch(app, &self.settings[app]);
                self.world.kill();
            }
            Fault::Skew => {
                // At most ten seconds apart.
                let is = self.world.offsets[app].load(Ordering::SeqCst);
                let other = self.world.offsets[1 - app].load(Ordering::SeqCst);
                let to = other - 10 + i64::try_from(random.between(0, 20)).expect("it is small");
                self.turn(app, to - is);
            }
            Fault::Shift => {
                let back = random.percent(50);
                if !back && self.shifted.elapsed() < Duration::from_secs(30) {
                    return;
                }
                let by = if back { -3_600 } else { 200 };
                let all = self.world.stop.write().unwrap();
                sleep(Duration::from_millis(400));
                for app in [0, 1] {
                    self.turn(app, by);
                }
                if back {
                    self.world.set_back();
                }
                drop(all);
                self.shifted = Instant::now();
            }
            Fault::Leap => {
                self.world.disaster();
                for app in [0, 1] {
                    self.turn(app, 700);
                }
                self.world.disaster();
            }
        }
    }

    fn turn(&self, app: usize, seconds: i64) {
        self.world.offsets[app].fetch_add(seconds, Ordering::SeqCst);
        self.world
            .forecast(&format!("the clock of {app} moves by {seconds} s"));
        assert!(
            self.world.ask(app, &format!("/turn/{seconds}")).is_some(),
            "the application responds"
        );
    }
}
