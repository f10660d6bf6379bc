//! Bytes that no pager wrote: refused with the page and the reason, never a panic.

use super::*;

fn sound(options: Options) -> Bytes {
    let mut rig = Rig::new(options);
    for name in NAMES {
        rig.create(name);
    }
    for at in 0..300_u64 {
        rig.put("key", at.to_be_bytes().to_vec(), vec![at as u8; 50]);
        rig.put("meta", (at % 7).to_string(), vec![at as u8; 20]);
    }
    rig.put("lease", "large", vec![1; 9000]);
    rig.commit();
    rig.put("key", "z", "1");
    rig.commit();
    rig.file.bytes()
}

/// Opens it, and reads all if that can be done.
fn try_all(bytes: Vec<u8>) {
    if let Ok(mut pager) = open(&bytes.into(), SMALL) {
        pager.check();
        for element in pager.root().iter().filter_map(|element| element.bucket()) {
            let tree = pager.tree(&element);
            tree.stats();
            tree.iter().for_each(drop);
            tree.get(b"key");
        }
        let mut copy = pager.open_snapshot();
        while copy.next_chunk(&pager, 1 << 20).is_some() {}
    }
}

#[test]
fn flipped_bits_and_noise_never_panic() {
    for freelist in [FreelistSync::On, FreelistSync::Off] {
        let sound = sound(Options { freelist, ..SMALL });
        let mut dice = Dice(9);
        let used = 16 * 4096;
        for _ in 0..3_000 {
            let mut bytes = sound.to_vec();
            for _ in 0..=dice.below(3) {
                // Headers and elements are hit most often.
                let page = dice.below(used / 4096) * 4096;
                let at = [dice.below(16), dice.below(200), dice.below(4096)][dice.below(3) as usize];
                bytes[(page + at) as usize] ^= 1 << dice.below(8);
            }
            try_all(bytes);
        }
        for length in (0..used as usize).step_by(97) {
            try_all(sound[..length].to_vec());
        }
    }
    let mut dice = Dice(10);
    for _ in 0..300 {
        try_all((0..dice.below(40_000)).map(|_| dice.next() as u8).collect());
    }
}

#[test]
fn metas_with_a_right_checksum_may_say_anything() {
    let sound = sound(SMALL);
    let mut dice = Dice(11);
    for _ in 0..2_000 {
        let mut bytes = sound.to_vec();
        let numbers = [0, 1, 2, 3, 7, 1 << 20, u64::MAX, u64::MAX - 1];
        let mut pick = || numbers[dice.below(8) as usize];
        let meta = Meta {
            page_size: 4096,
            flags: 0,
            root: Pgid(pick()),
            sequence: 0,
            freelist: Some(Pgid(pick())).filter(|page| page.0 != u64::MAX),
            high_water: Pgid(pick()),
            txid: Txid(pick()),
        };
        if meta.root >= meta.high_water || meta.freelist.is_some_and(|page| page >= meta.high_water) {
            continue;
        }
        meta.put(&mut bytes[..4096], Pgid(0));
        try_all(bytes);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let sound = sound(SMALL);
    let newest = [0, 1].map(|page| Meta::parse(&sound[page * 4096..]).unwrap());
    let root = newest.iter().max_by_key(|meta| meta.txid).unwrap().root;
    let with = |page: Pgid, at: usize, value: u8| {
        let mut bytes = sound.to_vec();
        bytes[page.index() * 4096 + at] = value;
        open(&bytes.into(), SMALL).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(with(root, 0, 99), format!("page {}: it says that it is page 99", root.0));
    assert!(with(root, 8, 4).contains("its flags are 0x4"));
    assert!(with(root, 12, 200).contains("ends behind the file"));
    assert!(with(root, 16 + 5, 200).contains("element 0 lies outside"));
    // One broken meta is what a crash may leave; two are too many.
    assert_eq!(with(Pgid(0), 30, 99), "");
    let mut bytes = sound.to_vec();
    (bytes[30], bytes[4096 + 16]) = (99, 1);
    let error = open(&bytes.into(), SMALL).unwrap_err().to_string();
    assert_eq!(error, "page 0: checksum error; page 1: invalid database: the magic number is wrong");
    assert_eq!(open(&Bytes::new(), SMALL).unwrap_err().to_string(), "file size too small: 0 bytes");
}

#[test]
fn files_of_other_page_sizes_open_by_either_meta() {
    for page_size in [1024, 8192, 65536] {
        let bytes = sound(Options { page_size, ..SMALL });
        assert_eq!(open(&bytes, SMALL).unwrap().page_size(), page_size);
        let mut broken = bytes.to_vec();
        broken[20] ^= 1;
        assert_eq!(open(&broken.into(), SMALL).unwrap().page_size(), page_size);
    }
}
