//! A hashed map from keys, for lookups only: it is never iterated, so its order can never be seen.

// A map for lookup only: nothing depends on its order.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use detcd_replica::api::Key;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// From a key to something, by a hash that is the same in every process.
pub(crate) type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// xxh3, chained over what is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    /// Of what is long, the ends: values that differ do so there, and to read them whole would take longer than all
    /// else that is done with them.
    fn write(&mut self, bytes: &[u8]) {
        const END: usize = 64;
        match bytes.len() {
            ..=128 => self.0 = xxh3_64_with_seed(bytes, self.0),
            length => {
                self.write_usize(length);
                self.0 = xxh3_64_with_seed(&bytes[..END], self.0);
                self.0 = xxh3_64_with_seed(&bytes[length - END..], self.0);
            }
        }
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = self.0.rotate_left(5) ^ n as u64;
    }
}
