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

/// The sites that were asked for lately, each where its name's address leads: to find a name takes as long as to draw.
/// What is found does not depend on addresses, only how fast.
pub(crate) struct Lately([Option<(&'static str, Site)>; 64]);

impl Lately {
    pub(crate) const NONE: Self = Self([None; 64]);

    fn site(&mut self, name: &'static str) -> Site {
        let place = (name.as_ptr() as usize ^ name.len()) % self.0.len();
        match self.0[place] {
            Some((known, site)) if std::ptr::eq(known, name) => site,
            _ => {
                let site = site(name);
                self.0[place] = Some((name, site));
                site
            }
        }
    }
}

impl Chance for Decider {
    fn below(&mut self, name: &'static str, subject: u64, n: u64) -> u64 {
        let site = self.lately.site(name);
        self.decide(site, Subject(subject), &Below(n))
    }

    fn ratio(&mut self, name: &'static str, subject: u64, numer: u64, denom: u64) -> bool {
        let site = self.lately.site(name);
        self.decide(site, Subject(subject), &Ratio::new(numer, denom))
    }

    fn exponential(&mut self, name: &'static str, subject: u64, mean: Span) -> Span {
        let site = self.lately.site(name);
        Span(self.decide(site, Subject(subject), &Exponential(mean.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_site_however_often_and_beside_which_it_is_asked_for() {
        let mut lately = Lately::NONE;
        // So many names that some push each other out.
        assert!(Site::ALL.len() > lately.0.len() / 2);
        for _ in 0..3 {
            for &site in Site::ALL {
                assert_eq!((lately.site(site.name()), lately.site(site.name())), (site, site));
            }
        }
        // Whatever lies in a place, only the very name that led to it may take it.
        let (one, other) = (Site::ALL[0], Site::ALL[1]);
        lately.0 = [Some((one.name(), one)); 64];
        assert_eq!(lately.site(other.name()), other);
    }
}
