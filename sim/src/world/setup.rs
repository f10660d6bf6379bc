//! How the members are set up: by the scenario, and by what the first one was before.

use detcd_replica::api::Credential;
use detcd_replica::{Config, FileName};

use crate::beginning::{Beginning, Disks, Former};
use crate::scenario::Scenario;

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
    pub(super) fn prepare(&self, nodes: &mut [Node]) {
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
                    first.disk.hold(*file, data.clone(), length);
                }
                others.iter_mut().for_each(|node| node.down = Down::Absent);
            }
        }
    }
}
