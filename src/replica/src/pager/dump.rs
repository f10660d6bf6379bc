//! A file page by page, for people who look into one, damaged or not.
//!
//! Nothing is trusted: whatever a page says of itself is shown, or what is wrong with it. What belongs together is not
//! known here; that is for `check`.

use bytes::Bytes;

use super::freelist::Freelist;
use super::meta::Meta;
use super::page::{u64_at, Page, Pgid, BRANCH, BUCKET, BUCKET_HEADER, FREELIST, LEAF, META};
use super::Pager;

/// A page with its overflow, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageDump {
    /// Where it stands.
    pub place: Pgid,
    /// The number that it gives itself.
    pub id: Pgid,
    /// The flags that it gives itself.
    pub flags: u16,
    /// Elements, as its header says.
    pub count: usize,
    /// Further pages that belong to it, as its header says.
    pub overflow: u32,
    /// What is on it.
    pub content: Result<PageContent, String>,
}

/// What is on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageContent {
    /// One of the two metas.
    Meta {
        /// Its transaction.
        txid: u64,
        /// Root page of the bucket of buckets.
        root: Pgid,
        /// The freelist's page, if the file keeps one.
        freelist: Option<Pgid>,
        /// Pages from here on were never used.
        high_water: Pgid,
        /// Bytes in a page.
        page_size: usize,
    },
    /// The free pages.
    Freelist(Vec<Pgid>),
    /// Keys, each with the page of what follows it.
    Branch(Vec<(Bytes, Pgid)>),
    /// Keys with their values.
    Leaf(Vec<LeafElement>),
    /// Nothing was ever written here.
    Zeros,
}

/// A key on a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafElement {
    /// The key.
    pub key: Bytes,
    /// The value; of a bucket, its header and what is inline.
    pub value: Bytes,
    /// The root page, when the value is a bucket: 0 when it is inline.
    pub root: Option<Pgid>,
}

/// The page that begins at `place`; `None` behind the end of the file.
///
/// Whether a page is overflow of another cannot be told from the page: whoever goes through a file skips
/// [`PageDump::overflow`] pages after each page that is in use.
pub fn dump_page(file: &Bytes, page_size: usize, place: Pgid) -> Option<PageDump> {
    let start = usize::try_from(place.0).ok()?.checked_mul(page_size)?;
    let first = file.get(start..start.checked_add(page_size)?)?;
    let head = Page(file.slice(start..start + page_size));
    let (id, flags, count, overflow) = (head.id(), head.flags(), head.count(), head.overflow());
    let content = if first.iter().all(|byte| *byte == 0) {
        Ok(PageContent::Zeros)
    } else {
        let whole = (overflow as usize + 1).checked_mul(page_size).and_then(|length| start.checked_add(length));
        match whole.filter(|end| *end <= file.len()) {
            Some(end) => content(&Page(file.slice(start..end)), place),
            None => Err(format!("its {overflow} overflow pages end behind the file")),
        }
    };
    Some(PageDump { place, id, flags, count, overflow, content })
}

fn content(page: &Page, place: Pgid) -> Result<PageContent, String> {
    if page.id() != place {
        return Err(format!("it calls itself page {}", page.id().0));
    }
    match page.flags() {
        META => {
            let meta = Meta::parse(&page.0).map_err(|error| error.to_string())?;
            let Meta { page_size, root, freelist, high_water, txid, .. } = meta;
            Ok(PageContent::Meta { txid: txid.0, root, freelist, high_water, page_size })
        }
        FREELIST => Freelist::parse(page).map(PageContent::Freelist),
        BRANCH | LEAF => match page.inspect() {
            Some(reason) => Err(reason),
            None if page.is_branch() => {
                let element = |at| (Bytes::copy_from_slice(page.key(at)), page.child(at));
                Ok(PageContent::Branch((0..page.count()).map(element).collect()))
            }
            None => {
                let element = |at| {
                    let (key, value) = page.pair(at);
                    let is_bucket = page.element_flags(at) & BUCKET != 0 && value.len() >= BUCKET_HEADER;
                    LeafElement { root: is_bucket.then(|| Pgid(u64_at(&value, 0))), key, value }
                };
                Ok(PageContent::Leaf((0..page.count()).map(element).collect()))
            }
        },
        other => Err(format!("its flags are {other:#x}, which no page has")),
    }
}

impl PageContent {
    /// bbolt's name for such a page.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Freelist(_) => "freelist",
            Self::Branch(_) => "branch",
            Self::Leaf(_) => "leaf",
            Self::Zeros => "zeros",
        }
    }
}

impl Pager {
    /// The pages that nothing uses, in order, those that a reader may still see included.
    pub fn free_pages(&self) -> Vec<Pgid> {
        self.freelist.all()
    }
}
