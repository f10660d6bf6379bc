//! Clients, workloads and plans ask for chance by a site's name; here the name becomes one of the declared sites.

use std::sync::OnceLock;

use detcd_replica::time::Span;

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Below, Exponential, Ratio};
use crate::scenario::Chance;

/// The declared sites in the order of their names.
fn by_name() -> &'static [(&'static str, Site)] {
    static TABLE: OnceLock<Vec<(&'static str, Site)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: Vec<_> = Site::ALL.iter().map(|site| (site.name(), *site)).collect();
        table.sort_unstable();
        table
    })
}

fn site(name: &'static str) -> Site {
    let table = by_name();
    match table.binary_search_by_key(&name, |(known, _)| known) {
        Ok(place) => table[place].1,
        Err(_) => panic!("`{name}` is asked for and not declared in the list of sites"),
    }
}

impl Chance for Decider {
    fn below(&mut self, name: &'static str, subject: u64, n: u64) -> u64 {
        self.decide(site(name), Subject(subject), &Below(n))
    }

    fn ratio(&mut self, name: &'static str, subject: u64, numer: u64, denom: u64) -> bool {
        self.decide(site(name), Subject(subject), &Ratio::new(numer, denom))
    }

    fn exponential(&mut self, name: &'static str, subject: u64, mean: Span) -> Span {
        Span(self.decide(site(name), Subject(subject), &Exponential(mean.0)))
    }
}
