//! Readers of older commits, and copies of the file that take long.

use super::*;

fn read(pager: &Pager, view: &View) -> Vec<(Bytes, Bytes)> {
    let bucket = pager.view_root(view).get(b"key").unwrap().bucket().unwrap();
    let pairs = pager.tree(&bucket).iter().map(|element| (element.key, element.value));
    pairs.collect()
}

/// A rig with many commits behind it.
fn busy(options: Options) -> Rig {
    let mut rig = Rig::new(options);
    rig.create("key");
    for at in 0..600_u64 {
        rig.put("key", at.to_be_bytes().to_vec(), vec![0; 60]);
    }
    rig.commit();
    rig
}

fn churn(rig: &mut Rig, rounds: u64) {
    for round in 0..rounds {
        for at in 0..40_u64 {
            rig.put("key", ((round * 40 + at) % 600).to_be_bytes().to_vec(), vec![round as u8; 60]);
        }
        rig.commit();
    }
}

#[test]
fn a_reader_sees_its_commit_however_many_follow() {
    let mut rig = busy(SMALL);
    let (first, expected) = (rig.pager.open_view(), rig.last["key"].clone());
    churn(&mut rig, 7);
    let (second, later) = (rig.pager.open_view(), rig.last["key"].clone());
    churn(&mut rig, 7);
    assert!(read(&rig.pager, &first).into_iter().eq(expected));
    assert!(read(&rig.pager, &second).into_iter().eq(later));
    assert_eq!(rig.pager.check(), vec![]);
    assert_eq!(rig.pager.stats().open_readers, 2);
    let pending = rig.pager.stats().pending_pages;
    rig.pager.close_view(first);
    rig.pager.close_view(second);
    churn(&mut rig, 2);
    assert!(rig.pager.stats().pending_pages < pending / 2);
}

#[test]
fn pages_of_a_reader_that_are_used_again_show() {
    let mut rig = busy(Options { bugs: Bugs::NONE.with(crate::Bug::FreelistEarlyReuse), ..SMALL });
    let expected = rig.last["key"].clone();
    let copy = rig.pager.open_snapshot();
    churn(&mut rig, 12);
    let mut reading = copy.clone();
    let chunks: Vec<Bytes> = std::iter::from_fn(|| reading.next_chunk(&rig.pager, 8192)).collect();
    let damaged = match open(&chunks.concat().into(), SMALL) {
        Err(_) => true,
        Ok(pager) => pager.bucket(b"key").is_none_or(|bucket| {
            let found = pager.tree(&bucket).iter().map(|element| (element.key, element.value));
            !found.eq(expected)
        }),
    };
    assert!(damaged, "the copy has the content of its commit");
    rig.pager.close_snapshot(copy);
}

#[test]
fn a_slow_copy_is_the_file_as_it_was() {
    let mut rig = busy(SMALL);
    churn(&mut rig, 3);
    let (mut copy, expected) = (rig.pager.open_snapshot(), rig.last.clone());
    let size = copy.size(&rig.pager);
    let mut bytes = Vec::new();
    while let Some(chunk) = copy.next_chunk(&rig.pager, 10_000) {
        bytes.extend_from_slice(&chunk);
        churn(&mut rig, 1);
    }
    rig.pager.close_snapshot(copy);
    assert_eq!(bytes.len() as u64, size);
    let pager = open(&bytes.into(), SMALL).unwrap();
    assert!(content(&pager) == expected);
    assert_eq!(pager.check(), vec![]);
}

#[test]
fn a_freelist_of_more_than_65535_pages_is_written_and_read() {
    let options = Options { page_size: 512, freelist: FreelistSync::On, ..SMALL };
    let mut rig = Rig::new(options);
    rig.create("key");
    for at in 0..70_000_u64 {
        rig.put("key", at.to_be_bytes().to_vec(), vec![0; 440]);
    }
    rig.commit();
    for at in 0..70_000_u64 {
        rig.delete("key", &at.to_be_bytes());
    }
    rig.commit();
    rig.put("key", "a", "1");
    rig.commit();
    assert!(rig.pager.stats().free_pages > 0xFFFF);
    let free = rig.pager.freelist.all();
    rig.reopen();
    assert_eq!(rig.pager.freelist.all().len(), free.len());
    assert_eq!(rig.pager.check(), vec![]);
    // Without a freelist in the file a walk finds the same pages, and the freelist's own.
    rig.options.freelist = FreelistSync::Off;
    rig.reopen();
    rig.put("key", "b", "1");
    rig.commit();
    rig.reopen();
    assert_eq!(rig.pager.check(), vec![]);
    assert_eq!(rig.now, rig.last);
}
