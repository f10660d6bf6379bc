//! Is the file sound? Each page is reachable exactly once or free, keys are in order, and both metas can be read.
//!
//! The walk over the tree is the one that a file must pass to be opened at all. After it, everything else may trust
//! what is on a page: that elements lie inside it, that children exist, that the way down ends.

use std::fmt;

use bytes::Bytes;

use super::freelist::Freelist;
use super::meta::Meta;
use super::page::{Page, Pgid, BUCKET};
use super::table::Table;
use super::tree::BucketRoot;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// The page.
    pub page: Pgid,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}: {}", self.page.0, self.reason)
    }
}

/// The pages that a walk has come by.
struct Reached(Vec<bool>);

impl Reached {
    /// Notes a page; false when it was there before.
    fn visit(&mut self, page: u64) -> bool {
        !std::mem::replace(&mut self.0[page as usize], true)
    }
}

/// A page still to be looked at, and the keys between which its own must be.
struct Visit {
    page: Pgid,
    from: Option<Bytes>,
    below: Option<Bytes>,
}

/// Walks all trees of `meta`: the pages that belong to them, or the first thing that is wrong.
///
/// # Errors
/// A page out of bounds, of the wrong kind, reached twice, or with elements or keys that cannot be.
pub(super) fn walk(table: &Table, meta: &Meta) -> Result<Vec<bool>, Fault> {
    let high_water = meta.high_water.index().min(table.len());
    let mut reached = Reached(vec![false; high_water]);
    let mut todo = vec![Visit { page: meta.root, from: None, below: None }];
    while let Some(visit) = todo.pop() {
        look(table, &mut reached, &visit, &mut todo).map_err(|reason| Fault { page: visit.page, reason })?;
    }
    Ok(reached.0)
}

fn look(table: &Table, reached: &mut Reached, visit: &Visit, todo: &mut Vec<Visit>) -> Result<(), String> {
    let pages = reached.0.len() as u64;
    let id = visit.page;
    if id.0 < 2 || id.0 >= pages {
        return Err(format!("out of bounds: there are {pages} pages"));
    }
    let header = Page(Bytes::copy_from_slice(&table.single(id)[..super::page::HEADER]));
    if header.id() != id {
        return Err(format!("it says that it is page {}", header.id().0));
    }
    let end = id.0 + u64::from(header.overflow());
    if end >= pages {
        return Err(format!("its overflow of {} ends behind the file", header.overflow()));
    }
    for page in id.0..=end {
        if !reached.visit(page) {
            return Err("multiple references".into());
        }
    }
    let page = table.page(id);
    if let Some(reason) = page.inspect() {
        return Err(reason);
    }
    check_order(&page, visit)?;
    for at in 0..page.count() {
        if page.is_branch() {
            let from = Some(Bytes::copy_from_slice(page.key(at)));
            let below = match at + 1 < page.count() {
                true => Some(Bytes::copy_from_slice(page.key(at + 1))),
                false => visit.below.clone(),
            };
            todo.push(Visit { page: page.child(at), from, below });
        } else if page.element_flags(at) & BUCKET != 0 {
            let value = page.pair(at).1;
            if let Some(reason) = BucketRoot::inspect(&value) {
                return Err(format!("element {at} is {reason}"));
            }
            let root = BucketRoot::of_value(&value);
            match root.inline {
                // A bucket inside an inline one cannot be.
                Some(inline) if (0..inline.count()).any(|at| inline.element_flags(at) & BUCKET != 0) => {
                    return Err(format!("element {at} is an inline bucket with a bucket inside"));
                }
                Some(_) => {}
                None => todo.push(Visit { page: root.page, from: None, below: None }),
            }
        }
    }
    Ok(())
}

fn check_order(page: &Page, visit: &Visit) -> Result<(), String> {
    for at in 0..page.count() {
        let key = page.key(at);
        if at == 0 && visit.from.as_ref().is_some_and(|from| key < &from[..]) {
            return Err("its first key is below the one that its parent has for it".into());
        }
        if at > 0 && key <= page.key(at - 1) {
            return Err(format!("key {at} is not above the one before"));
        }
        if visit.below.as_ref().is_some_and(|below| key >= &below[..]) {
            return Err(format!("key {at} is not below the next one of its parent"));
        }
    }
    Ok(())
}

/// Everything that is wrong with a committed state.
pub(super) fn check(table: &Table, meta: &Meta, freelist: &Freelist) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |page: Pgid, reason: String| faults.push(Fault { page, reason });
    for page in [Pgid(0), Pgid(1)] {
        if let Err(error) = Meta::parse(table.single(page)) {
            fault(page, error.to_string());
        }
    }
    let all = freelist.all();
    for pair in all.windows(2).filter(|pair| pair[0] == pair[1]) {
        fault(pair[0], "already freed".into());
    }
    for page in &all {
        if page.0 < 2 || *page >= meta.high_water {
            fault(*page, "out of bounds, and free".into());
        }
    }
    let mut reached = match walk(table, meta) {
        Ok(reached) => reached,
        Err(wrong) => {
            faults.push(wrong);
            return faults;
        }
    };
    if let Some(id) = meta.freelist {
        let overflow = table.page(id).overflow();
        for page in id.0..=id.0 + u64::from(overflow) {
            match reached.get_mut(page as usize) {
                Some(reached) if !*reached => *reached = true,
                Some(_) => fault(Pgid(page), "the freelist is part of a tree".into()),
                None => fault(Pgid(page), "the freelist ends behind the file".into()),
            }
        }
    }
    for page in (2..meta.high_water.0).map(Pgid) {
        let reached = reached.get(page.index()).copied().unwrap_or_default();
        match (reached, freelist.is_freed(page)) {
            (true, true) => fault(page, "reachable freed".into()),
            (false, false) => fault(page, "unreachable unfreed".into()),
            _ => {}
        }
    }
    faults
}
