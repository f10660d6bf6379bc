//! Numbers for things: interned states, worlds of many components, multisets of operations taken.
//!
//! Everything that a configuration holds is a small number, so that it is copied, hashed and compared in a few
//! instructions. Equal things have equal numbers and different things different ones: nothing rests on a hash being
//! unique. Hashed maps are only looked up here, never walked.

// A map for lookup only: nothing depends on its order.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A small multiplicative hasher without a random key: lookups cost little, and runs repeat.
#[derive(Default, Clone, Copy)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        // The map uses the top and the bottom bits; the product leaves the bottom ones weak.
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// A map for lookups.
pub(super) type Lookup<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Numbers for values: 0, 1, 2 in the order of their first appearance.
pub(super) struct Interner<T> {
    numbers: Lookup<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub(super) fn new() -> Self {
        Self { numbers: Lookup::default(), values: Vec::new() }
    }

    pub(super) fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 values fit in memory");
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    pub(super) fn value(&self, number: u32) -> &T {
        &self.values[number as usize]
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

/// Worlds: one state number for each component, as hash-consed binary trees of a fixed height. Changing one
/// component makes `height` nodes at most; the world is the number of its root. A world of one component is its state.
pub(super) struct Worlds {
    height: u32,
    nodes: Interner<(u32, u32)>,
}

impl Worlds {
    /// A table, and the world in which each of `components` is in `state`.
    pub(super) fn new(components: usize, state: u32) -> (Self, u32) {
        let height = components.max(1).next_power_of_two().trailing_zeros();
        let mut worlds = Self { height, nodes: Interner::new() };
        let mut root = state;
        for _ in 0..height {
            root = worlds.nodes.number((root, root));
        }
        (worlds, root)
    }

    /// The state of `component`.
    pub(super) fn read(&self, world: u32, component: u32) -> u32 {
        let mut node = world;
        for level in (0..self.height).rev() {
            let (left, right) = *self.nodes.value(node);
            node = if component >> level & 1 == 0 { left } else { right };
        }
        node
    }

    /// The world with `component` in `state`.
    pub(super) fn write(&mut self, world: u32, component: u32, state: u32) -> u32 {
        self.write_below(world, component, state, self.height)
    }

    fn write_below(&mut self, node: u32, component: u32, state: u32, height: u32) -> u32 {
        if height == 0 {
            return state;
        }
        let (left, right) = *self.nodes.value(node);
        let pair = if component >> (height - 1) & 1 == 0 {
            (self.write_below(left, component, state, height - 1), right)
        } else {
            (left, self.write_below(right, component, state, height - 1))
        };
        self.nodes.number(pair)
    }

    /// How many nodes are held.
    pub(super) fn len(&self) -> usize {
        self.nodes.values().len()
    }

    /// Forgets every world but `roots`, and gives those their new numbers.
    pub(super) fn compact<'a>(&mut self, roots: impl Iterator<Item = &'a mut u32>) {
        let old = std::mem::replace(&mut self.nodes, Interner::new());
        let mut moved = Lookup::default();
        for root in roots {
            *root = self.adopt(&old, &mut moved, *root, self.height);
        }
    }

    fn adopt(
        &mut self,
        old: &Interner<(u32, u32)>,
        moved: &mut Lookup<(u32, u32), u32>,
        node: u32,
        height: u32,
    ) -> u32 {
        if height == 0 {
            return node;
        }
        if let Some(&number) = moved.get(&(height, node)) {
            return number;
        }
        let (left, right) = *old.value(node);
        let pair = (self.adopt(old, moved, left, height - 1), self.adopt(old, moved, right, height - 1));
        let number = self.nodes.number(pair);
        moved.insert((height, node), number);
        number
    }
}

/// The operations of unknown outcome that a configuration has taken: identical ones are counted, not named.
pub(super) struct Taken {
    sets: Interner<Vec<(u32, u32)>>,
    after: Lookup<(u32, u32), u32>,
}

/// The number of the empty multiset.
pub(super) const NOTHING: u32 = 0;

impl Taken {
    pub(super) fn new() -> Self {
        let mut sets = Interner::new();
        assert_eq!(sets.number(Vec::new()), NOTHING);
        Self { sets, after: Lookup::default() }
    }

    /// How often `class` is in `set`.
    pub(super) fn count(&self, set: u32, class: u32) -> u32 {
        let set = self.sets.value(set);
        set.binary_search_by_key(&class, |entry| entry.0).map_or(0, |at| set[at].1)
    }

    /// `set` with one more `class`.
    pub(super) fn with(&mut self, set: u32, class: u32) -> u32 {
        if let Some(&next) = self.after.get(&(set, class)) {
            return next;
        }
        let mut entries = self.sets.value(set).clone();
        match entries.binary_search_by_key(&class, |entry| entry.0) {
            Ok(at) => entries[at].1 += 1,
            Err(at) => entries.insert(at, (class, 1)),
        }
        let next = self.sets.number(entries);
        self.after.insert((set, class), next);
        next
    }

    /// How many operations are in `set`.
    pub(super) fn size(&self, set: u32) -> u32 {
        self.sets.value(set).iter().map(|entry| entry.1).sum()
    }

    /// Whether everything in `less` is in `more`.
    pub(super) fn within(&self, less: u32, more: u32) -> bool {
        if less == more || less == NOTHING {
            return true;
        }
        let mut rest = self.sets.value(more).iter();
        self.sets.value(less).iter().all(|&(class, count)| {
            rest.by_ref().find(|entry| entry.0 >= class).is_some_and(|entry| entry.0 == class && entry.1 >= count)
        })
    }
}
