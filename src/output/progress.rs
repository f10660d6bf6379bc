//! Progress on stderr: a bar on a terminal, a plain line every 10 seconds elsewhere, nothing when asked for quiet.

use std::io::{stderr, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human::scaled;
use super::lines::Totals;
use crate::cpu::per_second;

const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Progress of a batch.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    started: Instant,
    spoken: Instant,
    total: u64,
}

impl Progress {
    /// Of `total` runs.
    pub(crate) fn new(total: u64, quiet: bool) -> Self {
        let terminal = stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template("seeds {pos}/{len} {bar:24} {msg} · ETA {eta}")
                .expect("the template is fixed")
                .progress_chars("█▉ ");
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
        });
        let now = Instant::now();
        Self { bar, plain: !terminal && !quiet, started: now, spoken: now, total }
    }

    /// After every run, and every now and then.
    pub(crate) fn update(&mut self, totals: &Totals) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.rates(totals));
            bar.set_position(totals.seeds);
        } else if self.plain && self.spoken.elapsed() >= PLAIN_INTERVAL {
            self.spoken = Instant::now();
            // A long run tells nothing before it ends but that it goes on.
            let news = match totals.seeds {
                0 => format!("{} s so far", self.started.elapsed().as_secs()),
                _ => self.rates(totals),
            };
            eprintln!("seeds {}/{} · {news}", totals.seeds, self.total);
        }
    }

    /// Prints with the bar out of the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn rates(&self, totals: &Totals) -> String {
        let wall = self.started.elapsed();
        format!(
            "{:.1} seeds/s · {} times real time · {} ev/s · {} failures",
            per_second(totals.seeds, wall),
            scaled(per_second(totals.simulated_ms, wall) / 1e3),
            scaled(per_second(totals.events, wall)),
            totals.failures,
        )
    }
}
