//! A data dir on a real disk: read into the image that a member boots from, and written as a member left its own.
//!
//! Promises: reading changes nothing; what is written appears whole or not at all, and never over something else. Long
//! runs of zeros take no space. Knows the names of etcd's files, and nothing of what is in them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use detcd_replica::{Dir, DiskImage, FileName};

use crate::engine::FileContent;
use crate::exit::Failure;

/// What file systems allocate at a time, on the machines that etcd runs on.
const BLOCK: usize = 4096;
/// What disks write as a whole.
const SECTOR: usize = 512;

/// A data dir as it was found.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// Its files. Of WAL files the zeros at the end are only a length: they are preallocated space.
    pub(crate) image: DiskImage,
    /// Files that etcd has no name for, by their paths.
    pub(crate) unknown: Vec<PathBuf>,
}

/// Reads `dir`, in which `member/wal` and `member/snap` are.
///
/// # Errors
/// It is no data dir, or cannot be read: exit 2.
pub(crate) fn read(dir: &Path) -> Result<DataDir, Failure> {
    let member = dir.join("member");
    if !member.is_dir() {
        let hint = if dir.join("wal").is_dir() { "; its parent may be it" } else { "" };
        let reason = if dir.exists() { "no data dir of etcd: there is no member/ in it" } else { "no such folder" };
        return Err(Failure::usage(format!("{}: {reason}{hint}", dir.display())));
    }
    let mut found = DataDir { image: DiskImage::default(), unknown: Vec::new() };
    for kind in [Dir::Wal, Dir::Snap] {
        collect(&member.join(folder(kind)), kind, &mut found)?;
    }
    Ok(found)
}

/// Reads a database: `path/member/snap/db`, `path/snap/db`, `path/db`, or the file that `path` is. Gives its path, too.
///
/// # Errors
/// There is none, or it cannot be read: exit 2.
pub(crate) fn read_db(path: &Path) -> Result<(PathBuf, Bytes), Failure> {
    let mut places = ["member/snap/db", "snap/db", "db"].map(|place| path.join(place)).to_vec();
    places.insert(0, path.to_owned());
    let Some(place) = places.into_iter().find(|place| place.is_file()) else {
        let reason = if path.exists() { "there is no member/snap/db in it" } else { "no such file or folder" };
        return Err(Failure::usage(format!("{}: {reason}", path.display())));
    };
    let bytes = fs::read(&place).map_err(|error| Failure::usage(format!("{}: {error}", place.display())))?;
    Ok((place, bytes.into()))
}

/// Reads only the segments of a log: those in `path/member/wal`, `path/wal`, `path`, or the one segment that `path` is.
///
/// # Errors
/// There are none, or they cannot be read: exit 2.
pub(crate) fn read_wal(path: &Path) -> Result<DataDir, Failure> {
    let mut found = DataDir { image: DiskImage::default(), unknown: Vec::new() };
    if path.is_file() {
        add(path, Dir::Wal, &mut found)?;
        if found.image.files.is_empty() {
            return Err(Failure::usage(format!("{}: no WAL segment: its name is not one", path.display())));
        }
        return Ok(found);
    }
    let places = [path.join("member/wal"), path.join("wal"), path.to_owned()];
    let place = places.iter().find(|place| place.is_dir());
    let place = place.ok_or_else(|| Failure::usage(format!("{}: no such file or folder", path.display())))?;
    collect(place, Dir::Wal, &mut found)?;
    if !found.image.files.keys().any(|file| matches!(file, FileName::Wal { .. })) {
        return Err(Failure::usage(format!("{}: there is no WAL segment in it", place.display())));
    }
    Ok(found)
}

fn folder(dir: Dir) -> &'static str {
    match dir {
        Dir::Wal => "wal",
        Dir::Snap => "snap",
    }
}

fn collect(folder: &Path, dir: Dir, found: &mut DataDir) -> Result<(), Failure> {
    let wrong = |error: io::Error| Failure::usage(format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if !path.is_dir() {
            add(&path, dir, found)?;
        }
    }
    found.unknown.sort();
    Ok(())
}

fn add(path: &Path, dir: Dir, found: &mut DataDir) -> Result<(), Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| file_name(dir, name));
    let Some(name) = name else {
        found.unknown.push(path.to_owned());
        return Ok(());
    };
    let mut data = fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if dir == Dir::Wal {
        found.image.lengths.insert(name, data.len() as u64);
        let used = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(SECTOR));
        data.truncate(used);
        data.shrink_to_fit();
    }
    found.image.files.insert(name, data.into());
    Ok(())
}

/// The file that etcd gives this name in this folder.
pub(crate) fn file_name(dir: Dir, name: &str) -> Option<FileName> {
    let hex = |text: &str| {
        let sound = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| sound)
    };
    let pair = |text: &str| text.split_once('-').and_then(|(first, second)| Some((hex(first)?, hex(second)?)));
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    match (dir, extension) {
        (Dir::Wal, "wal") => pair(stem).map(|(seq, index)| FileName::Wal { seq, index }),
        (Dir::Wal, "wal.broken") => pair(stem).map(|(seq, index)| FileName::WalBroken { seq, index }),
        (Dir::Wal, "tmp") => stem.parse().ok().map(|slot| FileName::WalTmp { slot }),
        (Dir::Snap, "") if stem == "db" => Some(FileName::Db),
        (Dir::Snap, "snap") => pair(stem).map(|(term, index)| FileName::Snap { term, index }),
        (Dir::Snap, "snap.broken") => pair(stem).map(|(term, index)| FileName::SnapBroken { term, index }),
        (Dir::Snap, "") if stem.starts_with("tmp") => {
            stem["tmp".len()..].parse().ok().map(|number| FileName::SnapTmp { number })
        }
        (Dir::Snap, "snap.db") => hex(stem).map(|index| FileName::SnapDb { index }),
        (Dir::Snap, _) if stem == "db" => {
            extension.strip_prefix("tmp.")?.parse().ok().map(|number| FileName::DbTmp { number })
        }
        _ => None,
    }
}

/// Whether a data dir may be written to `to`: it is not there, or is an empty folder.
///
/// # Errors
/// It is something: exit 2.
pub(crate) fn must_be_vacant(to: &Path) -> Result<(), Failure> {
    let refuse = |reason: &str| Err(Failure::usage(format!("{}: {reason}", to.display())));
    match fs::read_dir(to).map(|mut entries| entries.next().is_some()) {
        Ok(true) => refuse("the folder is not empty, and is left as it is"),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) if to.exists() => refuse("it is no folder, and is left as it is"),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Writes a data dir, whole or not at all. Its folders are the owner's alone, as etcd demands.
///
/// # Errors
/// It cannot be written: exit 74. [`must_be_vacant`] is the caller's to ask.
pub(crate) fn write(to: &Path, files: &BTreeMap<FileName, FileContent>) -> Result<(), Failure> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = parent.join(format!(".{name}.unfinished-{}", std::process::id()));
    let written = write_all(parent, &unfinished, files).and_then(|()| {
        // A rename replaces an empty folder on some systems only.
        match fs::remove_dir(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&unfinished, to),
        }
    });
    written.map_err(|error| {
        // What cannot be removed either was hardly written.
        let _ = fs::remove_dir_all(&unfinished);
        Failure::output(to.display(), error)
    })
}

fn write_all(parent: &Path, unfinished: &Path, files: &BTreeMap<FileName, FileContent>) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    create_dir(unfinished)?;
    create_dir(&unfinished.join("member"))?;
    for dir in [Dir::Wal, Dir::Snap] {
        create_dir(&unfinished.join("member").join(folder(dir)))?;
    }
    for (name, content) in files {
        let path = unfinished.join(name.to_string());
        // The first segment of a log that is being made has a folder of its own.
        if *name == FileName::WalFirst {
            create_dir(path.parent().expect("a file below the data dir"))?;
        }
        write_sparse(&path, content)?;
    }
    Ok(())
}

fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Blocks of zeros are skipped: the length stands for them.
fn write_sparse(path: &Path, content: &FileContent) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    file.set_len(content.length)?;
    let mut at = 0u64;
    for block in content.data.chunks(BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(block)?;
        }
        at += block.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let names = [
            FileName::Wal { seq: 0, index: 0 },
            FileName::Wal { seq: u64::MAX, index: 0x1f },
            FileName::WalTmp { slot: 1 },
            FileName::WalBroken { seq: 3, index: 9 },
            FileName::Db,
            FileName::DbTmp { number: 12 },
            FileName::SnapDb { index: 0xabc },
            FileName::Snap { term: 2, index: 100 },
            FileName::SnapBroken { term: 2, index: 100 },
            FileName::SnapTmp { number: 7 },
        ];
        for name in names {
            let path = name.to_string();
            let last = path.rsplit('/').next().expect("a path has a last part");
            assert_eq!(file_name(name.dir(), last), Some(name), "{path}");
        }
        for (dir, name) in [
            (Dir::Wal, "db"),
            (Dir::Snap, "0.tmp"),
            (Dir::Wal, "000000000000000-0000000000000000.wal"),
            (Dir::Wal, "000000000000000A-0000000000000000.wal"),
            (Dir::Wal, "0000000000000000.wal"),
            (Dir::Wal, "+000000000000000-0000000000000000.wal"),
            (Dir::Snap, "db.tmp.x"),
            (Dir::Snap, "db.tmp"),
            (Dir::Snap, "0000000000000000.snap.broken"),
            (Dir::Snap, "tmpx"),
            (Dir::Wal, ""),
        ] {
            assert_eq!(file_name(dir, name), None, "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_takes_no_space_for_zeros() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let to = folder.path().join("deep/inside");
        let content = |data: &[u8], length| FileContent { data: Bytes::copy_from_slice(data), length };
        let mut gap = vec![0; 3 << 20];
        gap[(3 << 20) - 1] = 7;
        let wal = FileName::Wal { seq: 0, index: 0 };
        let files =
            BTreeMap::from([(wal, content(b"abc", 64 << 20)), (FileName::Db, content(&gap, gap.len() as u64 + 5))]);
        must_be_vacant(&to).expect("it is not there");
        write(&to, &files).expect("written");
        let found = read_wal(&to).expect("a data dir");
        assert_eq!(found.image.length(wal), Some(64 << 20));
        let log = found.image.bytes(wal).expect("it is there");
        assert_eq!((&log[..4], log.len()), (&b"abc\0"[..], 512));
        let db = fs::read(to.join("member/snap/db")).expect("written");
        assert_eq!((&db[..gap.len()], db.len()), (&gap[..], gap.len() + 5));
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let taken = |name: FileName| fs::metadata(to.join(name.to_string())).expect("written").blocks() * 512;
            assert!(taken(wal) + taken(FileName::Db) < 1 << 20, "zeros take no space");
        }
        let names: Vec<_> = fs::read_dir(folder.path().join("deep")).expect("a folder").collect();
        assert_eq!(names.len(), 1, "nothing unfinished is left");
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        must_be_vacant(folder.path()).expect("an empty folder will do");
        write(folder.path().join("empty").as_path(), &BTreeMap::new()).expect("written");
        let refusal = must_be_vacant(&folder.path().join("empty")).expect_err("there is something in it");
        assert_eq!(refusal.exit, Exit::Usage);
        fs::write(folder.path().join("file"), "x").expect("written");
        assert!(must_be_vacant(&folder.path().join("file")).is_err());
        let failure = write(&folder.path().join("file/below"), &BTreeMap::new()).expect_err("below a file");
        assert_eq!(failure.exit, Exit::OutputIo);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing unfinished is left");
    }
}
