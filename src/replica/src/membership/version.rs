//! Versions of servers and clusters, and when a cluster may take another one.
//!
//! The cluster version is what all members understand: the leader raises it to the lowest version of the members, and
//! lowers it by one minor version when a downgrade was enabled.

use std::fmt;

/// `major.minor.patch`. A cluster version has no patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 3, until further notice.
    pub major: u16,
    /// The release.
    pub minor: u16,
    /// The patch.
    pub patch: u16,
}

impl Version {
    /// What a cluster is at before its members' versions are known.
    pub const MIN_CLUSTER: Self = Self::release(3, 0);

    /// `major.minor.0`.
    pub const fn release(major: u16, minor: u16) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// `1.2.3`; what may follow a third number (`-alpha.0+git`) does not count.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split(['-', '+']).next()?;
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    /// `convertToClusterVersion`: what a person may type, with or without the patch, as a cluster version.
    pub(crate) fn parse_cluster(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse(&format!("{text}.0"))).map(Self::cluster)
    }

    /// Without the patch.
    pub(crate) fn cluster(self) -> Self {
        Self { patch: 0, ..self }
    }

    /// `version.Cluster`: `major.minor`.
    pub(crate) fn short(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// The one version that a cluster at this one may be downgraded to.
    pub(crate) fn downgrade(self) -> Option<Self> {
        self.minor.checked_sub(1).map(|minor| Self::release(self.major, minor))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// `decideClusterVersion`: what the leader should propose, if anything. `lowest` is the lowest version of the members,
/// `None` while one of them is not known; `target` is where a downgrade goes.
pub(crate) fn decide(cluster: Option<Version>, lowest: Option<Version>, target: Option<Version>) -> Option<Version> {
    let Some(cluster) = cluster else {
        return Some(lowest.map_or(Version::MIN_CLUSTER, Version::cluster));
    };
    let lowest = lowest?.cluster();
    if let Some(target) = target {
        let next = target != cluster && cluster.downgrade() == Some(target) && lowest.downgrade() == Some(target);
        return next.then_some(target);
    }
    (cluster.major == lowest.major && cluster < lowest).then_some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        for (text, expect) in [
            ("3.5.1", Some("3.5.1")),
            ("3.6.0-alpha.0", Some("3.6.0")),
            ("3.7.0-rc.1+git", Some("3.7.0")),
            ("3.5", None),
            ("3.5.1.1", None),
            ("3.x.1", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text).map(|version| version.to_string()).as_deref(), expect, "{text}");
        }
        for (text, expect) in [("3.5", Some("3.5.0")), ("3.5.9", Some("3.5.0")), ("3", None), ("3.5.x", None)] {
            assert_eq!(Version::parse_cluster(text).map(|version| version.to_string()).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn the_leader_raises_to_the_lowest_and_lowers_to_the_target() {
        let version = |minor: u16| (minor != 0).then_some(Version { major: 3, minor, patch: 4 });
        let cluster = |minor: u16| (minor != 99).then_some(Version::release(3, minor));
        // Cluster (99: none), lowest member (0: not known), target (99: none); what is proposed (99: nothing).
        for (now, lowest, target, expect) in [
            (99, 0, 99, 0),
            (99, 6, 99, 6),
            (0, 0, 99, 99),
            (0, 6, 99, 6),
            (5, 6, 99, 6),
            (6, 6, 99, 99),
            (6, 5, 99, 99),
            (6, 6, 5, 5),
            (6, 0, 5, 99),
            (5, 6, 5, 99),
            (5, 5, 5, 99),
            (6, 6, 4, 99),
            (6, 5, 5, 99),
        ] {
            let found = decide(cluster(now), version(lowest), cluster(target));
            assert_eq!(found, cluster(expect), "{now} {lowest} {target}");
        }
    }
}
