//! Each way of corrupting a right history is refused by the check named for it.

use bytes::Bytes;
use detcd_replica::api::{KeyValue, Request, ResponseBody, WatchBody, WatchEvent};
use detcd_replica::history::{History, Outcome, Watch};

use super::generate::{history_and_store, Chance, Shape};
use super::{role, Role};
use crate::spec::{Keyspace, Store};
use crate::{judge, JudgeOptions};

/// Corrupts the history; `None` when it has nothing to corrupt in this way.
type Mutation = fn(&mut History, &Store, &mut Chance) -> Option<()>;

fn check(name: &str, unknown_percent: u64, mutation: Mutation) {
    let shape = Shape { unknown_percent, ..Shape::SMALL };
    let mut done = 0;
    for seed in 0..400 {
        let (mut history, store) = history_and_store(seed, shape);
        if mutation(&mut history, &store, &mut Chance(seed)).is_none() {
            continue;
        }
        done += 1;
        let judgement = judge(&history, &JudgeOptions::default());
        let found: Vec<&str> = judgement.findings.iter().map(|finding| finding.check).collect();
        assert!(found.contains(&name), "seed {seed}: {name} found nothing, only {found:?}, {:?}", judgement.undecided);
    }
    assert!(done > 40, "the mutation was possible in {done} histories");
}

fn pick<T>(chance: &mut Chance, list: &[T]) -> Option<usize> {
    (!list.is_empty()).then(|| chance.below(list.len() as u64) as usize)
}

fn revision(history: &mut History, number: usize) -> &mut i64 {
    match &mut history.operations[number].outcome {
        Outcome::Ok { response, .. } => &mut response.header.revision,
        _ => panic!("an answered operation"),
    }
}

fn numbers(history: &History, wanted: impl Fn(Role) -> bool) -> Vec<usize> {
    (0..history.operations.len()).filter(|number| wanted(role(&history.operations[*number]))).collect()
}

fn is_write(role: Role) -> bool {
    matches!(role, Role::Write(_))
}

/// The shown key-values of a read of values.
fn kvs(history: &mut History, number: usize) -> Option<&mut Vec<KeyValue>> {
    let operation = &mut history.operations[number];
    match (&operation.request, &mut operation.outcome) {
        (Request::Range(range), Outcome::Ok { response, .. }) if !range.keys_only => match &mut response.body {
            ResponseBody::Range { kvs, .. } => Some(kvs),
            _ => None,
        },
        _ => None,
    }
}

fn change_value(history: &mut History, chance: &mut Chance, wanted: fn(Role) -> bool) -> Option<()> {
    let mut reads = numbers(history, wanted);
    reads.retain(|number| kvs(history, *number).is_some_and(|kvs| !kvs.is_empty()));
    let number = reads[pick(chance, &reads)?];
    kvs(history, number)?[0].value = Bytes::from_static(b"nobody's");
    Some(())
}

fn is_read(role: Role) -> bool {
    matches!(role, Role::Read(_))
}

fn is_serializable(role: Role) -> bool {
    matches!(role, Role::Serializable(_))
}

#[test]
fn a_changed_value() {
    check("linearizability", 5, |history, _, chance| change_value(history, chance, is_read));
}

#[test]
fn a_changed_value_of_a_serializable_read() {
    check("serializable", 0, |history, _, chance| change_value(history, chance, is_serializable));
}

/// A write without an answer leaves a doubt about the log, which lasts only until a read shows what there is.
#[test]
fn a_changed_value_of_a_serializable_read_after_writes_without_answers() {
    let shape = Shape { operations: 2_000, unknown_percent: 3, watches: 0, ..Shape::SMALL };
    let (mut found, mut done) = (0, 0);
    for seed in 0..40 {
        let (mut history, _) = history_and_store(seed, shape);
        if change_value(&mut history, &mut Chance(seed), is_serializable).is_some() {
            done += 1;
            let judgement = judge(&history, &JudgeOptions::default());
            found += u32::from(judgement.findings.iter().any(|finding| finding.check == "serializable"));
        }
    }
    assert!(done > 20 && found * 2 > done, "{found} of {done} found");
}

#[test]
fn a_serializable_read_of_the_future() {
    check("serializable", 0, |history, store, chance| {
        let reads = numbers(history, is_serializable);
        let number = reads[pick(chance, &reads)?];
        *revision(history, number) = store.revision() + 1;
        Some(())
    });
}

#[test]
fn a_stale_key_in_a_fresh_read() {
    check("linearizability", 5, |history, store, chance| {
        let mut reads = numbers(history, is_read);
        reads.retain(|number| kvs(history, *number).is_some_and(|kvs| kvs.first().is_some_and(|kv| kv.version > 1)));
        let number = reads[pick(chance, &reads)?];
        let kv = &mut kvs(history, number)?[0];
        *kv = store.find(&kv.key, kv.mod_revision - 1)?.key_value(&kv.key.clone());
        Some(())
    });
}

#[test]
fn a_stale_read() {
    check("linearizability", 5, |history, _, chance| {
        let mut reads = numbers(history, is_read);
        reads.retain(|number| {
            let Request::Range(range) = &history.operations[*number].request else { return false };
            let before = history
                .operations
                .iter()
                .filter(|other| is_write(role(other)) && super::end(other) < history.operations[*number].call);
            range.revision == 0 && before.count() > 0
        });
        let number = reads[pick(chance, &reads)?];
        *revision(history, number) = 1;
        Some(())
    });
}

#[test]
fn a_lost_write() {
    check("linearizability", 0, |history, store, chance| {
        let mut writes = numbers(history, is_write);
        writes.retain(|number| *revision(history, *number) < store.revision());
        let number = writes[pick(chance, &writes)?];
        history.operations.remove(number);
        Some(())
    });
}

#[test]
fn a_duplicated_revision() {
    check("linearizability", 5, |history, _, chance| {
        let writes = numbers(history, is_write);
        let (one, two) = (writes[pick(chance, &writes)?], writes[pick(chance, &writes)?]);
        if one == two {
            return None;
        }
        *revision(history, one) = *revision(history, two);
        Some(())
    });
}

#[test]
fn a_write_called_after_it_was_seen() {
    check("linearizability", 5, |history, store, chance| {
        let mut writes = numbers(history, is_write);
        writes.retain(|number| *revision(history, *number) + 8 < store.revision());
        let number = writes[pick(chance, &writes)?];
        let mut late = history.operations.remove(number);
        let last = history.operations.iter().map(|other| other.call.max(super::end(other).min(1 << 40))).max()?;
        late.call = (1 << 40) + last;
        if let Outcome::Ok { at, .. } = &mut late.outcome {
            *at = late.call + 1;
        }
        history.operations.push(late);
        Some(())
    });
}

/// A watch that fits, and the places of its responses with events.
fn told(history: &mut History, chance: &mut Chance, least: usize) -> Option<(usize, Vec<usize>)> {
    let places = |watch: &Watch| -> Vec<usize> {
        let responses = watch.responses.iter().enumerate();
        responses.filter(|(_, (_, r))| matches!(r.body, WatchBody::Events(_))).map(|(place, _)| place).collect()
    };
    let fit: Vec<usize> =
        (0..history.watches.len()).filter(|number| places(&history.watches[*number]).len() >= least).collect();
    let number = fit[pick(chance, &fit)?];
    let places = places(&history.watches[number]);
    Some((number, places))
}

fn events(history: &mut History, watch: usize, place: usize) -> &mut Vec<WatchEvent> {
    match &mut history.watches[watch].responses[place].1.body {
        WatchBody::Events(events) => events,
        _ => panic!("a response with events"),
    }
}

/// Changes the first event that fits.
fn change_event(
    history: &mut History,
    wanted: impl Fn(&WatchEvent) -> bool,
    change: impl Fn(&mut WatchEvent),
) -> Option<()> {
    let responses = history.watches.iter_mut().flat_map(|watch| &mut watch.responses);
    let mut events = responses.filter_map(|(_, response)| match &mut response.body {
        WatchBody::Events(events) => Some(events),
        _ => None,
    });
    change(events.find_map(|events| events.iter_mut().find(|event| wanted(event)))?);
    Some(())
}

#[test]
fn swapped_events() {
    check("watch-ordered", 5, |history, _, chance| {
        let (watch, places) = told(history, chance, 2)?;
        history.watches[watch].responses.swap(places[0], places[1]);
        Some(())
    });
}

#[test]
fn a_missing_event() {
    check("watch-reliable", 0, |history, _, chance| {
        let (watch, places) = told(history, chance, 3)?;
        history.watches[watch].responses.remove(places[1]);
        Some(())
    });
}

#[test]
fn a_missing_first_event() {
    check("watch-resumable", 0, |history, _, chance| {
        let (watch, places) = told(history, chance, 2)?;
        history.watches[watch].responses.remove(places[0]);
        Some(())
    });
}

#[test]
fn a_missing_last_event() {
    check("watch-live", 0, |history, _, chance| {
        let (watch, places) = told(history, chance, 1)?;
        history.watches[watch].responses.remove(*places.last()?);
        history.watches[watch].complete.then_some(())
    });
}

#[test]
fn an_event_told_twice() {
    check("watch-unique", 5, |history, _, chance| {
        let (watch, places) = told(history, chance, 1)?;
        let again = history.watches[watch].responses[places[0]].clone();
        history.watches[watch].responses.insert(places[0] + 1, again);
        Some(())
    });
}

#[test]
fn a_split_revision() {
    check("watch-atomic", 5, |history, _, _| {
        for watch in &mut history.watches {
            for place in 0..watch.responses.len() {
                let WatchBody::Events(events) = &mut watch.responses[place].1.body else { continue };
                let pair = events.windows(2).position(|pair| pair[0].kv.mod_revision == pair[1].kv.mod_revision);
                let Some(first) = pair else { continue };
                let rest = events.split_off(first + 1);
                let mut more = watch.responses[place].clone();
                more.1.body = WatchBody::Events(rest);
                watch.responses.insert(place + 1, more);
                return Some(());
            }
        }
        None
    });
}

#[test]
fn early_progress() {
    check("watch-bookmarkable", 0, |history, _, chance| {
        let (watch, places) = told(history, chance, 1)?;
        let revision = events(history, watch, places[0])[0].kv.mod_revision;
        let mut early = history.watches[watch].responses[places[0]].clone();
        early.1.body = WatchBody::Progress;
        early.1.header.revision = revision;
        history.watches[watch].responses.insert(places[0], early);
        Some(())
    });
}

#[test]
fn progress_over_a_lost_event() {
    check("watch-bookmarkable", 0, |history, _, chance| {
        let (watch, places) = told(history, chance, 1)?;
        let last = *places.last()?;
        let revision = events(history, watch, last).last()?.kv.mod_revision;
        let response = &mut history.watches[watch].responses[last].1;
        response.body = WatchBody::Progress;
        response.header.revision = revision;
        Some(())
    });
}

#[test]
fn a_wrong_previous_value() {
    check("watch-prev-kv", 0, |history, _, _| {
        change_event(
            history,
            |event| event.prev_kv.is_some(),
            |event| {
                event.prev_kv.as_mut().expect("it was looked for").version += 1;
            },
        )
    });
}

#[test]
fn an_event_of_another_value() {
    check("watch-reliable", 0, |history, _, _| {
        change_event(history, |event| event.kv.version > 0, |event| event.kv.value = Bytes::from_static(b"nobody's"))
    });
}

#[test]
fn a_creation_that_was_none() {
    check("watch-is-create", 0, |history, _, _| {
        change_event(history, |event| event.kv.version > 1, |event| event.kv.create_revision = event.kv.mod_revision)
    });
}

#[test]
fn an_event_of_another_key() {
    check("watch-filter", 5, |history, _, _| {
        change_event(history, |_| true, |event| event.kv.key = Bytes::from_static(b"other"))
    });
}
