//! Files made by hand, sound and broken in one place.

use super::testing::{branch, file, leaf, meta, page, Content, PAGE};
use super::*;

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn content() -> Content {
    let large: std::collections::BTreeMap<_, _> =
        (0..40).map(|n| (format!("key{n:02}").into_bytes(), vec![b'x'; 300])).collect();
    [(b"empty".to_vec(), pairs([])), (b"key".to_vec(), large), (b"meta".to_vec(), pairs([("a", "1"), ("b", "2")]))]
        .into()
}

/// As it may lie in memory, with pieces that begin anywhere in a page.
fn in_pieces(file: &[u8]) -> Rope {
    file.chunks(2 * PAGE - 300).map(Bytes::copy_from_slice).collect()
}

/// Every pair as the walk shows it, or what is wrong.
fn shown(file: &[u8]) -> Result<(Content, Census), String> {
    let file = in_pieces(file);
    let db = Db::open(&file).map_err(|damage| damage.to_string())?;
    let mut content = Content::new();
    let census = db.walk(&mut |bucket, pair| {
        let pairs = content.entry(bucket.to_vec()).or_default();
        if let Some((key, value)) = pair {
            pairs.insert(key.to_vec(), value.to_vec());
        }
    });
    census.map(|census| (content, census)).map_err(|damage| damage.to_string())
}

fn refused(file: &[u8], reason: &str) {
    match shown(file) {
        Ok(_) => panic!("it should be refused: {reason}"),
        Err(found) => assert_eq!(found, reason),
    }
}

/// Three pages in a tree: a branch at 3 with leaves at 4 and 5, under the root at 2; page 6 is free.
fn tree(children: &[(&[u8], u64)], freelist: Option<&[u64]>) -> Vec<u8> {
    let mut value = [0; 16].to_vec();
    value[0] = 3;
    let root = leaf(1, &[(b"key".to_vec(), value)].into());
    let list: Vec<u8> = freelist.unwrap_or(&[]).iter().flat_map(|page| page.to_le_bytes()).collect();
    let at = if freelist.is_some() { 7 } else { NO_FREELIST };
    [
        meta(2, at, 8, 6),
        meta(2, at, 8, 5),
        page(2, 2, 1, &root),
        page(3, 1, children.len(), &branch(children)),
        page(4, 2, 2, &leaf(0, &pairs([("a", "1"), ("b", "2")]))),
        page(5, 2, 2, &leaf(0, &pairs([("m", "3"), ("n", "4")]))),
        page(6, 2, 0, &[]),
        page(7, 16, freelist.unwrap_or(&[]).len(), &list),
    ]
    .concat()
}

#[test]
fn what_was_written_is_shown() {
    let (found, census) = shown(&file(&content(), 7)).expect("the file is sound");
    assert_eq!(found, content());
    // Two metas, four pages of the large bucket, the root.
    assert_eq!(census, Census { reached: 7, free: 0, keys: 42 });
    let (found, census) = shown(&tree(&[(b"a", 4), (b"m", 5)], Some(&[6]))).expect("the tree is sound");
    assert_eq!(found, [(b"key".to_vec(), pairs([("a", "1"), ("b", "2"), ("m", "3"), ("n", "4")]))].into());
    assert_eq!(census, Census { reached: 7, free: 1, keys: 4 });
    assert_eq!(shown(&tree(&[(b"a", 4), (b"m", 5)], None)).expect("so it is without a freelist").1.free, 2);
}

#[test]
fn the_newest_meta_that_is_whole_counts() {
    let mut one = file(&content(), 8);
    assert_eq!(Db::open(&in_pieces(&one)).expect("both are whole").meta().txid, 8);
    one[20] ^= 1;
    assert_eq!(Db::open(&in_pieces(&one)).expect("the other is whole").meta().txid, 7);
    one[PAGE + 60] ^= 1;
    refused(&one, "meta: neither meta page is valid");
    let mut apart = file(&content(), 8);
    apart[..PAGE].copy_from_slice(&meta(6, NO_FREELIST, 7, 12));
    refused(&apart, "meta: transactions 12 and 7 do not follow each other");
}

#[test]
fn a_copy_begins_with_its_newest_meta() {
    let mut copy = file(&content(), 8);
    copy[..PAGE].copy_from_slice(&meta(6, NO_FREELIST, 7, 9));
    copy[PAGE..2 * PAGE].copy_from_slice(&meta(6, NO_FREELIST, 7, 8));
    assert_eq!(Db::open(&in_pieces(&copy)).expect("as it is copied").meta().txid, 9);
    copy[..PAGE].copy_from_slice(&meta(6, NO_FREELIST, 7, 10));
    assert_eq!(Db::open(&in_pieces(&copy)).expect("after a commit").meta().txid, 10);
    copy[..PAGE].copy_from_slice(&meta(6, NO_FREELIST, 7, 6));
    refused(&copy, "meta: transactions 6 and 8 do not follow each other");
}

#[test]
fn broken_trees_are_refused() {
    refused(&tree(&[(b"a", 4), (b"m", 4)], None), "page 4: it is reached twice");
    refused(&tree(&[(b"a", 4), (b"m", 9)], None), "page 9: it is behind the last page in use");
    refused(&tree(&[(b"a", 4), (b"m", 7)], None), "page 7: flags 16 are those of no branch and no leaf");
    refused(&tree(&[(b"a", 4), (b"n", 5)], None), "page 5: key m is out of order");
    refused(&tree(&[(b"m", 4), (b"a", 5)], None), "page 3: key a is out of order");
    refused(&tree(&[(b"a", 4), (b"m", 5)], Some(&[5, 6])), "page 5: it is reached, and free as well");
    refused(&tree(&[(b"a", 4), (b"m", 5)], Some(&[])), "page 6: it is neither reached nor free");
    refused(&tree(&[(b"a", 4), (b"m", 5)], Some(&[6, 6])), "page 7: page 6 is free twice, or out of order");
    refused(&tree(&[(b"a", 4), (b"m", 5)], None)[..5 * PAGE], "page 5: the file ends before it");
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    let sound = tree(&[(b"a", 4), (b"m", 5)], Some(&[6]));
    for at in (0..sound.len()).filter(|at| at % PAGE < 120) {
        for bits in [1, 0x80, 0xff] {
            let mut broken = sound.clone();
            broken[at] ^= bits;
            let _ = shown(&broken);
        }
    }
    for length in (0..sound.len()).step_by(97) {
        let _ = shown(&sound[..length]);
    }
}
