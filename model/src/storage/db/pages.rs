//! The walk over a file's pages, which is also its check.

use bytes::Bytes;
use detcd_replica::Rope;

use super::{Census, Damage, Db, Meta, Pair, PAGE_HEADER};
use crate::storage::{le_u16, le_u32, le_u64};

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const FREELIST: u16 = 16;
/// Flag of a leaf element whose value is a bucket.
const BUCKET: u32 = 1;
const ELEMENT: usize = 16;
const BUCKET_HEADER: usize = 16;
/// Levels that a tree may have. Two keys a page make 2^64 of them.
const DEPTH_MAX: u32 = 64;
/// Pages that a file may have: 64 GiB of the usual size. A meta that says more is not believed.
const PAGES_MAX: u64 = 1 << 24;

/// Shows a bucket's name with a pair of it, or without when it is empty.
type Visit<'v> = &'v mut dyn FnMut(&Bytes, Option<Pair>);
/// Takes the page, the flags, the key and the value of an element.
type Take<'t> = &'t mut dyn FnMut(&Page, u32, Bytes, Bytes) -> Result<(), Damage>;

struct Walk<'a, 'v> {
    file: &'a Rope,
    meta: Meta,
    /// A bit for each page.
    reached: Vec<u64>,
    census: Census,
    visit: Visit<'v>,
}

/// The keys that a page may hold: from the first on, below the second.
#[derive(Clone, Copy)]
struct Span<'a> {
    from: &'a [u8],
    below: Option<&'a [u8]>,
}

const EVERYTHING: Span<'static> = Span { from: &[], below: None };

/// A page's content, at home or inside a value.
struct Page {
    /// Its number, or that of the page which holds it.
    id: u64,
    flags: u16,
    count: usize,
    bytes: Bytes,
}

pub(super) fn walk(db: &Db<'_>, visit: Visit<'_>) -> Result<Census, Damage> {
    let meta = *db.meta();
    if meta.high_water > PAGES_MAX || meta.high_water < 3 {
        return Err(Damage::new("meta", format!("{} pages cannot be in use", meta.high_water)));
    }
    let words = (meta.high_water as usize).div_ceil(64);
    let mut walk = Walk { file: db.file, meta, reached: vec![0; words], census: Census::default(), visit };
    walk.reach(0, 0)?;
    walk.reach(1, 0)?;
    let free = match meta.freelist {
        Some(page) => Some(walk.freelist(page)?),
        None => None,
    };
    walk.root(meta.root)?;
    walk.close(free.as_deref())
}

fn at(page: u64) -> String {
    format!("page {page}")
}

impl Walk<'_, '_> {
    /// A page and those that it flows over into are reached, for the first time.
    fn reach(&mut self, page: u64, overflow: u32) -> Result<(), Damage> {
        let end = page.saturating_add(u64::from(overflow));
        if end >= self.meta.high_water {
            return Err(Damage::new(
                at(page),
                format!("it ends behind page {}, the last in use", self.meta.high_water - 1),
            ));
        }
        for id in page..=end {
            let (word, bit) = (&mut self.reached[(id / 64) as usize], 1 << (id % 64));
            if *word & bit != 0 {
                return Err(Damage::new(at(id), "it is reached twice"));
            }
            *word |= bit;
        }
        self.census.reached += end - page + 1;
        Ok(())
    }

    fn is_reached(&self, page: u64) -> bool {
        self.reached[(page / 64) as usize] & 1 << (page % 64) != 0
    }

    /// The page, which is reached by this.
    fn page(&mut self, id: u64) -> Result<Page, Damage> {
        let size = self.meta.page_size as usize;
        if id >= self.meta.high_water {
            return Err(Damage::new(at(id), "it is behind the last page in use"));
        }
        let start = id as usize * size;
        let header = self.file.get(start..start + PAGE_HEADER);
        let header = header.ok_or_else(|| Damage::new(at(id), "the file ends before it"))?;
        let number = le_u64(&header, 0).expect("a header has 16 bytes");
        if number != id {
            return Err(Damage::new(at(id), format!("it says that it is page {number}")));
        }
        let overflow = le_u32(&header, 12).expect("a header has 16 bytes");
        self.reach(id, overflow)?;
        let end = (start + size * (overflow as usize + 1)).min(self.file.len());
        let bytes = self.file.get(start..end).expect("it begins within the file, and ends there");
        Ok(parse(id, bytes).expect("its header was read"))
    }

    fn freelist(&mut self, id: u64) -> Result<Vec<u64>, Damage> {
        let page = self.page(id)?;
        if page.flags != FREELIST {
            return Err(Damage::new(at(id), format!("flags {} are not those of a freelist", page.flags)));
        }
        // A count that does not fit is the first number of the list.
        let (first, count) = match page.count {
            0xffff => (1, le_u64(&page.bytes, PAGE_HEADER).unwrap_or(0)),
            count => (0, count as u64),
        };
        let mut free = Vec::new();
        for place in first..first + count.min(self.meta.high_water) {
            let number = le_u64(&page.bytes, PAGE_HEADER + place as usize * 8);
            let number = number.ok_or_else(|| Damage::new(at(id), "the freelist ends before its count"))?;
            if number >= self.meta.high_water || number < 2 {
                return Err(Damage::new(at(id), format!("page {number} cannot be free")));
            }
            if free.last().is_some_and(|last| *last >= number) {
                return Err(Damage::new(at(id), format!("page {number} is free twice, or out of order")));
            }
            free.push(number);
        }
        Ok(free)
    }

    /// The bucket of buckets.
    fn root(&mut self, root: u64) -> Result<(), Damage> {
        let mut buckets = Vec::new();
        self.tree(root, EVERYTHING, 0, &mut |page, flags, name, value| {
            if flags != BUCKET {
                return Err(Damage::new(at(page.id), "a pair stands where only buckets do"));
            }
            buckets.push((page.id, name, value));
            Ok(())
        })?;
        for (page, name, value) in buckets {
            let before = self.census.keys;
            self.bucket(page, &name, &value)?;
            if self.census.keys == before {
                (self.visit)(&name, None);
            }
        }
        Ok(())
    }

    fn bucket(&mut self, holder: u64, name: &Bytes, value: &Bytes) -> Result<(), Damage> {
        let shown = || Damage::new(at(holder), format!("bucket {} is cut off", name.escape_ascii()));
        let root = le_u64(value, 0).ok_or_else(shown)?;
        if value.len() < BUCKET_HEADER {
            return Err(shown());
        }
        let mut pairs = Vec::new();
        let mut take = |page: &Page, flags, key, value| {
            if flags == BUCKET {
                return Err(Damage::new(at(page.id), "a bucket stands where etcd has none"));
            }
            pairs.push((key, value));
            Ok(())
        };
        if root == 0 {
            let page = parse(holder, value.slice(BUCKET_HEADER..)).ok_or_else(shown)?;
            if page.flags != LEAF {
                return Err(Damage::new(at(holder), format!("bucket {} is no leaf inside", name.escape_ascii())));
            }
            leaf(&page, EVERYTHING, &mut take)?;
        } else {
            self.tree(root, EVERYTHING, 0, &mut take)?;
        }
        self.census.keys += pairs.len() as u64;
        for pair in pairs {
            (self.visit)(name, Some(pair));
        }
        Ok(())
    }

    fn tree(&mut self, id: u64, span: Span<'_>, depth: u32, take: Take<'_>) -> Result<(), Damage> {
        let page = self.page(id)?;
        match page.flags {
            LEAF => leaf(&page, span, take),
            BRANCH if depth < DEPTH_MAX => {
                let elements = branch(&page, span)?;
                for (place, (key, child)) in elements.iter().enumerate() {
                    let below = elements.get(place + 1).map_or(span.below, |(key, _)| Some(&key[..]));
                    self.tree(*child, Span { from: key, below }, depth + 1, take)?;
                }
                Ok(())
            }
            BRANCH => Err(Damage::new(at(id), "the tree is too deep")),
            other => Err(Damage::new(at(id), format!("flags {other} are those of no branch and no leaf"))),
        }
    }

    /// Every page is reached or free, and none is both.
    fn close(mut self, free: Option<&[u64]>) -> Result<Census, Damage> {
        let Some(free) = free else {
            self.census.free = self.meta.high_water - self.census.reached;
            return Ok(self.census);
        };
        if let Some(both) = free.iter().find(|page| self.is_reached(**page)) {
            return Err(Damage::new(at(*both), "it is reached, and free as well"));
        }
        self.census.free = free.len() as u64;
        if self.census.reached + self.census.free != self.meta.high_water {
            let lost =
                (0..self.meta.high_water).find(|page| !self.is_reached(*page) && free.binary_search(page).is_err());
            return Err(Damage::new(at(lost.unwrap_or(0)), "it is neither reached nor free"));
        }
        Ok(self.census)
    }
}

fn parse(id: u64, bytes: Bytes) -> Option<Page> {
    Some(Page { id, flags: le_u16(&bytes, 8)?, count: usize::from(le_u16(&bytes, 10)?), bytes })
}

/// The fixed part of an element.
fn head(page: &Page, from: usize) -> Result<&[u8], Damage> {
    page.bytes.get(from..from + ELEMENT).ok_or_else(|| outside(page))
}

fn slice(page: &Page, from: usize, length: usize) -> Result<Bytes, Damage> {
    let end = from.checked_add(length).filter(|end| *end <= page.bytes.len());
    let bytes = end.map(|end| page.bytes.slice(from..end));
    bytes.ok_or_else(|| outside(page))
}

fn outside(page: &Page) -> Damage {
    Damage::new(at(page.id), "an element is not inside its page")
}

/// Keys rise, from the least that the page may hold to below the first that it may not.
fn in_order(page: &Page, span: Span<'_>, before: Option<&[u8]>, key: &[u8]) -> Result<(), Damage> {
    let rises = before.is_none_or(|before| before < key);
    if rises && key >= span.from && span.below.is_none_or(|below| key < below) {
        return Ok(());
    }
    Err(Damage::new(at(page.id), format!("key {} is out of order", key.escape_ascii())))
}

fn leaf(page: &Page, span: Span<'_>, take: Take<'_>) -> Result<(), Damage> {
    let mut before: Option<Bytes> = None;
    for place in 0..page.count {
        let element = PAGE_HEADER + place * ELEMENT;
        let head = head(page, element)?;
        let number = |at| le_u32(head, at).expect("an element has 16 bytes");
        let (flags, position) = (number(0), number(4) as usize);
        let (key_length, value_length) = (number(8) as usize, number(12) as usize);
        let key = slice(page, element + position, key_length)?;
        let value = slice(page, element + position + key_length, value_length)?;
        in_order(page, span, before.as_deref(), &key)?;
        before = Some(key.clone());
        take(page, flags, key, value)?;
    }
    Ok(())
}

fn branch(page: &Page, span: Span<'_>) -> Result<Vec<(Bytes, u64)>, Damage> {
    if page.count == 0 {
        return Err(Damage::new(at(page.id), "a branch without an element"));
    }
    let mut elements: Vec<(Bytes, u64)> = Vec::with_capacity(page.count);
    for place in 0..page.count {
        let element = PAGE_HEADER + place * ELEMENT;
        let head = head(page, element)?;
        let number = |at| le_u32(head, at).expect("an element has 16 bytes") as usize;
        let key = slice(page, element + number(0), number(4))?;
        let child = le_u64(head, 8).expect("an element has 16 bytes");
        in_order(page, span, elements.last().map(|(key, _)| &key[..]), &key)?;
        elements.push((key, child));
    }
    Ok(elements)
}
