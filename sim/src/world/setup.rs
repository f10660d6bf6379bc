//! How members and network are set up: by the scenario, and by what the first member was before.

use detcd_replica::api::Credential;
use detcd_replica::time::Monotonic;
use detcd_replica::{Config, FileName};

use crate::beginning::{Beginning, Disks, Former};
use crate::clock::Clock;
use crate::decide::{Decider, Site, Subject};
use crate::disk::{self, Disk, Episodes};
use crate::distribution;
use crate::net::{self, Network};
use crate::scenario::Scenario;

use super::faults::REORDER_WINDOW;
use super::names::Names;
use super::node::{Down, Node};

/// What a world was made with.
#[derive(Debug, Default)]
pub(super) struct Setup {
    beginning: Option<Beginning>,
}

impl Setup {
    pub(super) fn new(beginning: Option<Beginning>) -> Self {
        Self { beginning }
    }

    fn former(&self) -> Option<&Former> {
        match self.beginning.as_ref().map(|beginning| &beginning.disks) {
            Some(Disks::Continued(former)) => Some(former),
            Some(Disks::Founded(_)) | None => None,
        }
    }

    fn user(&self) -> Option<&String> {
        self.beginning.as_ref()?.user.as_ref()
    }

    /// Who is called how.
    pub(super) fn names(&self) -> Names {
        Names::new(self.former())
    }

    /// How clients, and the operator, say who they are.
    pub(super) fn credential(&self) -> Credential {
        self.user().map_or(Credential::None, |user| Credential::CommonName(user.clone()))
    }

    /// How a client says who it is: as its workload has it, or else as all do.
    pub(super) fn who_asks(&self, client: Credential) -> Credential {
        match client {
            Credential::None => self.credential(),
            said => said,
        }
    }

    /// Whether the members join the first one before anything begins.
    pub(super) fn gathers(&self) -> bool {
        self.former().is_some()
    }

    /// The configuration of the member at a place.
    pub(super) fn config(&self, scenario: &Scenario, place: usize) -> Config {
        let mut config = scenario.config(self.names().id(place));
        config.auth.client_cert |= self.user().is_some();
        if let Some(former) = self.former() {
            config.initial_cluster = vec![former.member];
            config.cluster_id = former.cluster;
            config.addresses.insert(former.member, former.address.clone());
            config.force_new_cluster = former.force_new_cluster && place == 0;
        }
        config
    }

    /// What the nodes of the scenario have when the world begins.
    pub(super) fn prepare(&self, scenario: &Scenario, nodes: &mut [Node]) {
        if scenario.cluster.forced {
            nodes.iter_mut().skip(1).for_each(|node| node.down = Down::Absent);
        }
        match self.beginning.as_ref().map(|beginning| &beginning.disks) {
            None => {}
            Some(Disks::Founded(database)) => {
                let length = database.len() as u64;
                nodes.iter_mut().for_each(|node| node.disk.hold(FileName::Db, database.clone(), length));
            }
            Some(Disks::Continued(former)) => {
                let (first, others) = nodes.split_first_mut().expect("a world has members");
                for (file, data) in &former.image.files {
                    let length = former.image.length(*file).expect("it is there");
                    first.disk.hold(*file, data.to_bytes(), length);
                }
                others.iter_mut().for_each(|node| node.down = Down::Absent);
            }
        }
    }
}

/// The node of a member, with an empty disk.
pub(super) fn node(scenario: &Scenario, setup: &Setup, place: usize, now: u64, decider: &mut Decider) -> Node {
    let number = place as u32 + 1;
    let profile = disk::profile(&scenario.disk.profile).expect("the scenario was validated");
    let disk = Disk::new(number, profile, Episodes::On, decider);
    let mut clock = Clock::new(Monotonic(1_000_000_000), 0);
    let drift = distribution::Symmetric(scenario.clock.drift * 1_000);
    clock.set_rate(now, decider.decide(Site::ClockDrift, Subject::one(number), &drift));
    Node::new(setup.config(scenario, place), disk, clock)
}

pub(super) fn network_profile(scenario: &Scenario) -> &'static net::Profile {
    let name = match scenario.network.profile.as_str() {
        "lan" => "rack",
        "az" => "same_az",
        "wan" => "global",
        other => other,
    };
    net::profile(name).expect("the scenario was validated")
}

/// The network of a scenario.
pub(super) fn network(scenario: &Scenario, nodes: usize, decider: &mut Decider) -> Network {
    let mut network = Network::new(nodes, network_profile(scenario), decider);
    network.set_all(character(scenario, false));
    network
}

/// What a scenario makes of every link, at all times until everything is repaired.
pub(super) fn character(scenario: &Scenario, healed: bool) -> impl Fn(&mut net::Parameters) {
    let share = |per_million| distribution::Ratio::new(per_million, 1_000_000);
    let set = &scenario.network;
    let (loss, duplicate, reorder) = (share(set.loss), share(set.duplicate), share(set.reorder));
    let faulty = set.loss + set.duplicate + set.reorder > 0;
    move |link| {
        if healed {
            link.mode = net::Mode::Stream;
            link.loss = distribution::Ratio::ZERO;
        } else if faulty {
            link.mode = net::Mode::Datagram;
            link.loss = link.loss.or_more(loss);
            link.duplicate = duplicate;
            link.reorder = reorder;
            link.reorder_window = REORDER_WINDOW;
        }
    }
}
