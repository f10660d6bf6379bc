//! The order of the elements in each list, and what is wrong with the reads before any order of transactions matters.
//!
//! Lists only grow. So of two versions of a list, read or written, one begins with the other, and the longest one tells
//! the order of all elements. Where that does not hold, the reason has one of Elle's names.

use std::collections::BTreeMap;

use super::lists::{attempted, Element, Lists};
use super::transactions::{Gathered, Transaction, Writer};
use super::{words, Anomaly};

/// The longest version of each list; versions of a list are its beginnings.
pub(super) struct Versions<'h> {
    pub(super) longest: Vec<Vec<Element<'h>>>,
    /// Which transactions count: those that were answered, and those whose elements were seen.
    pub(super) counts: Vec<bool>,
}

/// A list in words.
pub(super) fn text(elements: &[Element<'_>]) -> String {
    format!("[{}]", words::text(&elements.join(&b' ')))
}

/// Every version that a transaction shows, with its list.
fn shown<'t, 'h>(transaction: &'t Transaction<'h>) -> impl Iterator<Item = (usize, Vec<Element<'h>>)> + 't {
    let reads = transaction.reads.iter().map(|read| (read.list, read.elements.clone()));
    reads.chain(transaction.appends.iter().map(|append| (append.list, append.written.whole())))
}

/// The versions of all lists.
///
/// # Errors
/// What cannot be whatever the order of transactions is.
pub(super) fn settle<'h>(gathered: &mut Gathered<'h>, lists: &Lists<'h>) -> Result<Versions<'h>, Anomaly<'h>> {
    let counts = seen(gathered);
    let counting = |place: &usize| counts[*place];
    let transactions = &gathered.transactions;
    let all: Vec<usize> = (0..transactions.len()).filter(counting).collect();
    for place in &all {
        for (list, elements) in shown(&transactions[*place]) {
            elements_are_right(gathered, lists, *place, list, &elements)?;
        }
    }
    lost_update(gathered, lists, &all)?;
    if let Some(anomaly) = gathered.anomaly.take() {
        return Err(anomaly);
    }
    let mut longest: Vec<(usize, Vec<Element<'h>>)> = vec![(0, Vec::new()); lists.len()];
    for place in &all {
        for (list, elements) in shown(&transactions[*place]) {
            if elements.len() > longest[list].1.len() {
                longest[list] = (*place, elements);
            }
        }
    }
    for place in &all {
        for (list, elements) in shown(&transactions[*place]) {
            let (other, whole) = &longest[list];
            if !whole.starts_with(&elements) {
                let (key, one, two) = (words::text(lists.key(list)), text(&elements), text(whole));
                let story = format!("{key} was {one} for T1 and {two} for T2, and neither begins with the other");
                let operations = vec![transactions[*place].operation, transactions[*other].operation];
                return Err(Anomaly { name: "incompatible-order", operations, story });
            }
        }
    }
    let versions = Versions { longest: longest.into_iter().map(|(_, elements)| elements).collect(), counts };
    intermediate_read(gathered, &versions, lists, &all)?;
    Ok(versions)
}

/// Which transactions happened: those that were answered, and whose elements those that happened have seen.
fn seen(gathered: &Gathered<'_>) -> Vec<bool> {
    let mut counts: Vec<bool> = gathered.transactions.iter().map(|transaction| transaction.certain).collect();
    let mut left: Vec<usize> = (0..counts.len()).filter(|place| counts[*place]).collect();
    while let Some(place) = left.pop() {
        for (list, elements) in shown(&gathered.transactions[place]) {
            for element in elements {
                if let Some(Writer::Transaction(writer)) = gathered.writers.get(&(list, element)) {
                    if !counts[*writer] {
                        counts[*writer] = true;
                        left.push(*writer);
                    }
                }
            }
        }
    }
    counts
}

/// Each element in a version is there once, and of a transaction that may have happened.
fn elements_are_right<'h>(
    gathered: &Gathered<'h>,
    lists: &Lists<'h>,
    place: usize,
    list: usize,
    elements: &[Element<'h>],
) -> Result<(), Anomaly<'h>> {
    let operation = gathered.transactions[place].operation;
    let (key, version) = (|| words::text(lists.key(list)), || text(elements));
    let mut attempts: Vec<_> = elements.iter().map(|element| attempted(element).unwrap_or(element)).collect();
    attempts.sort_unstable();
    if let Some(twice) = attempts.windows(2).find(|pair| pair[0] == pair[1]) {
        let story = format!("T1 has {} in {}, where {} is twice", version(), key(), words::text(twice[0]));
        return Err(Anomaly { name: "duplicate-elements", operations: vec![operation], story });
    }
    for element in elements {
        match gathered.writers.get(&(list, *element)) {
            Some(Writer::Aborted(aborted)) => {
                let story = format!("T1 has {} in {}, but T2 did not append it", words::text(element), key());
                return Err(Anomaly { name: "G1a, aborted read", operations: vec![operation, aborted], story });
            }
            None => {
                let story = format!("T1 has {} in {}, which nobody appended", words::text(element), key());
                return Err(Anomaly { name: "garbage read", operations: vec![operation], story });
            }
            Some(Writer::Transaction(_) | Writer::Unclear) => {}
        }
    }
    Ok(())
}

/// No two transactions append to one version.
fn lost_update<'h>(gathered: &Gathered<'h>, lists: &Lists<'h>, all: &[usize]) -> Result<(), Anomaly<'h>> {
    let mut appended: BTreeMap<(usize, &[Element<'h>]), usize> = BTreeMap::new();
    for place in all {
        let transaction = &gathered.transactions[*place];
        for append in &transaction.appends {
            let seen = &append.written.seen[..];
            if let Some(first) = appended.insert((append.list, seen), *place) {
                let story =
                    format!("T1 and T2 both appended to {} in {}", text(seen), words::text(lists.key(append.list)));
                let operations = vec![gathered.transactions[first].operation, transaction.operation];
                return Err(Anomaly { name: "lost-update", operations, story });
            }
        }
    }
    Ok(())
}

/// Who reads a list does not see only a part of what one transaction appended.
fn intermediate_read<'h>(
    gathered: &Gathered<'h>,
    versions: &Versions<'h>,
    lists: &Lists<'h>,
    all: &[usize],
) -> Result<(), Anomaly<'h>> {
    for place in all {
        let transaction = &gathered.transactions[*place];
        for read in &transaction.reads {
            let next = versions.longest[read.list].get(read.elements.len());
            let Some((last, next)) = read.elements.last().zip(next) else { continue };
            let writer = |element| gathered.writers.get(&(read.list, element));
            let (Some(Writer::Transaction(one)), Some(Writer::Transaction(two))) = (writer(*last), writer(*next))
            else {
                continue;
            };
            if one == two {
                let (key, last, next) = (words::text(lists.key(read.list)), words::text(last), words::text(next));
                let story = format!("T1 saw {last} in {key}, and not {next}, which T2 appended with it");
                let operations = vec![transaction.operation, gathered.transactions[*one].operation];
                return Err(Anomaly { name: "G1b, intermediate read", operations, story });
            }
        }
    }
    Ok(())
}
