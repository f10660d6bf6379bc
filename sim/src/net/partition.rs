//! Partitions: which links a cut takes away.
//!
//! A partition is a value; [`super::Network::cut`] and [`super::Network::mend`] count, so partitions may overlap in
//! time.

/// A way to cut a network. Nodes that it does not name are untouched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// Nodes of different groups do not hear each other.
    Groups(Vec<Vec<usize>>),
    /// What the first send does not reach the second; the other way works.
    OneWay {
        /// Not heard.
        from: Vec<usize>,
        /// By these.
        to: Vec<usize>,
    },
    /// One node neither hears nor reaches these.
    Isolate {
        /// The node.
        node: usize,
        /// The others.
        peers: Vec<usize>,
    },
    /// Each hears only its two neighbours in this order, the last and the first being neighbours too.
    Ring(Vec<usize>),
    /// Two nodes do not hear each other, but both hear the rest (Cloudflare, 2 November 2020).
    Pair(usize, usize),
}

impl Partition {
    /// The links that it takes away, each once, in order.
    pub fn links(&self) -> Vec<(usize, usize)> {
        let mut links = Vec::new();
        let mut both = |a: usize, b: usize| links.extend([(a, b), (b, a)]);
        match self {
            Self::Groups(groups) => {
                for (i, left) in groups.iter().enumerate() {
                    for right in &groups[i + 1..] {
                        left.iter().for_each(|&a| right.iter().for_each(|&b| both(a, b)));
                    }
                }
            }
            Self::OneWay { from, to } => from.iter().for_each(|&a| links.extend(to.iter().map(|&b| (a, b)))),
            Self::Isolate { node, peers } => peers.iter().for_each(|&peer| both(*node, peer)),
            Self::Ring(nodes) => {
                let n = nodes.len();
                for i in 0..n {
                    for j in i + 1..n {
                        let neighbours = j == i + 1 || (i == 0 && j == n - 1);
                        if !neighbours {
                            both(nodes[i], nodes[j]);
                        }
                    }
                }
            }
            Self::Pair(a, b) => both(*a, *b),
        }
        links.retain(|(a, b)| a != b);
        links.sort_unstable();
        links.dedup();
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(partition: Partition, expect: &[(usize, usize)]) {
        assert_eq!(partition.links(), expect, "{partition:?}");
    }

    #[test]
    fn each_partition_takes_the_links_it_says() {
        check(Partition::Groups(vec![vec![0], vec![1, 2]]), &[(0, 1), (0, 2), (1, 0), (2, 0)]);
        check(Partition::Groups(vec![vec![0, 1, 2]]), &[]);
        check(Partition::OneWay { from: vec![1], to: vec![0, 1, 2] }, &[(1, 0), (1, 2)]);
        check(Partition::Isolate { node: 2, peers: vec![0, 1, 2] }, &[(0, 2), (1, 2), (2, 0), (2, 1)]);
        check(Partition::Ring(vec![0, 1, 2]), &[]);
        check(Partition::Ring(vec![0, 1, 2, 3]), &[(0, 2), (1, 3), (2, 0), (3, 1)]);
        check(Partition::Pair(3, 1), &[(1, 3), (3, 1)]);
    }

    #[test]
    fn in_a_ring_of_five_everybody_hears_two() {
        let links = Partition::Ring(vec![4, 1, 3, 0, 2]).links();
        for node in 0..5 {
            assert_eq!(links.iter().filter(|link| link.1 == node).count(), 2, "of 4 others, 2 are not heard");
        }
    }
}
