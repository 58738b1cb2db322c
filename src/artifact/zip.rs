//! Checks a zip archive before it is sent, by the rules of [`archive`](super::archive).
//!
//! A zip archive has two lists of its entries: one at its end, and a header before each entry's data. Tools can follow
//! either, so both must be the same. What `unzip` and other tools read differently is refused.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::archive::{
    DISK_BLOCK, MEND_KINDS, MEND_LINKS, MEND_NAMES, most_unpacked, of, placed, unfit,
};
use super::links::{Links, Place};
use super::unfit::Unfit;
use crate::text;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
const HEADER: &[u8] = b"PK\x03\x04";
const HEADER_LENGTH: usize = 30;

/// The longest comment after the end.
const LONGEST_COMMENT: u64 = 0xFFFF;

/// The limit of the list of entries, in bytes.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

/// The longest target of a link.
const LONGEST_TARGET: u64 = 4096;

/// The methods of an entry: stored, or deflated.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The system that gave an entry its mode.
const UNIX: u8 = 3;

/// The kinds of entries in a mode.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// The extra field with another name of the entry.
const OTHER_NAME: u16 = 0x7075;

const MEND_ZIP: &str = "pack it again with `zip -r FILE.zip .`";

/// Checks the archive and returns its size on a disk when unpacked.
///
/// # Errors
///
/// Names the first entry that must not be unpacked, and the reason.
pub(super) fn check(file: &File, size: u64) -> Result<u64, Unfit> {
    let entries = entries(file, size)?;
    let mut links = Links::default();
    // The links of an archive are created after everything else: an entry can be behind a later one.
    for entry in entries.iter().filter(|entry| entry.kind == LINK) {
        let target = entry.target(file)?;
        let place = place(entry, &Links::default())?;
        if !links.add(place, target) {
            return Err(unfit("it has too many links to check", "pack what the links lead to"));
        }
    }
    if let Some((link, target)) = links.leading_out() {
        let target = text::line(&String::from_utf8_lossy(target), 120);
        return Err(of(
            link,
            format!("leads out of the release's folder, to `{target}`"),
            MEND_LINKS,
        ));
    }
    let (mut seen, mut disk) = (BTreeSet::new(), 0_u64);
    let mut left = most_unpacked(size);
    for entry in &entries {
        let place = place(entry, &links)?;
        if entry.kind != FOLDER && !seen.insert(place) {
            return Err(of(&entry.name, "occurs twice", MEND_ZIP));
        }
        left = left.checked_sub(entry.unpack(file, left)?).ok_or_else(|| too_large(size))?;
        disk += entry.size.max(1).next_multiple_of(DISK_BLOCK);
    }
    Ok(disk)
}

/// The path of an entry within the folder.
fn place(entry: &Entry, links: &Links) -> Result<Place, Unfit> {
    let place = placed(links, &entry.name)?;
    if place.is_empty() && entry.kind != FOLDER {
        return Err(of(&entry.name, "replaces the release's folder", MEND_NAMES));
    }
    Ok(place)
}

fn too_large(size: u64) -> Unfit {
    let (size, most) = (text::size(size), text::size(most_unpacked(size)));
    unfit(
        format!("it has {size}, but unpacks to more than {most}: too large for a release"),
        "leave out the empty data, or create it on the node with a `run` step",
    )
}

fn torn(error: &io::Error) -> Unfit {
    unfit(format!("it is not a whole zip archive: {error}"), MEND_ZIP)
}

fn broken(why: &str) -> Unfit {
    unfit(format!("it is not a whole zip archive: {why}"), MEND_ZIP)
}

/// An entry of the list at the end.
struct Entry {
    name: Vec<u8>,
    /// A file, a folder or a link.
    kind: u32,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// Where its data begins.
    data: u64,
}

/// Little-endian numbers at fixed places.
fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn read_at(file: &File, at: u64, length: usize) -> Result<Vec<u8>, Unfit> {
    let mut file = file;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at)).map_err(|error| torn(&error))?;
    file.read_exact(&mut bytes).map_err(|error| torn(&error))?;
    Ok(bytes)
}

/// Reads the list at the end.
fn entries(file: &File, size: u64) -> Result<Vec<Entry>, Unfit> {
    let tail = size.min(LONGEST_COMMENT + END_LENGTH as u64);
    let bytes = read_at(file, size - tail, usize::try_from(tail).unwrap_or(usize::MAX))?;
    let end = (0..=bytes.len().saturating_sub(END_LENGTH)).rev().find(|at| {
        let rest = &bytes[*at..];
        rest.starts_with(END)
            && usize::from(short(rest, 20)) == rest.len() - END_LENGTH.min(rest.len())
    });
    let end = end.ok_or_else(|| broken("it has no end"))?;
    let (last, place) = (&bytes[end..], size - tail + end as u64);
    let (count, length, start) = (short(last, 10), long(last, 12), long(last, 16));
    if count == u16::MAX || length == u32::MAX || start == u32::MAX {
        let problem = "it uses the zip64 form, for more than 4 GiB or 65,534 entries";
        return Err(unfit(problem, "pack it with `tar -czf`"));
    }
    let is_one = short(last, 4) == 0 && short(last, 6) == 0 && short(last, 8) == count;
    if !is_one || u64::from(start) + u64::from(length) != place || u64::from(length) > LARGEST_LIST
    {
        return Err(broken("its list of entries is not right before its end"));
    }
    let found = read_at(file, start.into(), usize::try_from(length).unwrap_or(usize::MAX))?;
    let (mut entries, mut rest) = (Vec::new(), found.as_slice());
    for _ in 0..count {
        let (entry, length) = entry(file, rest)?;
        entries.push(entry);
        rest = &rest[length..];
    }
    if rest.is_empty() { Ok(entries) } else { Err(broken("its list has other data")) }
}

/// Reads the first entry of a list, and returns its length there.
fn entry(file: &File, list: &[u8]) -> Result<(Entry, usize), Unfit> {
    let lengths = [short(list, 28), short(list, 30), short(list, 32)].map(usize::from);
    let length = ENTRY_LENGTH + lengths.iter().sum::<usize>();
    if !list.starts_with(ENTRY) || list.len() < length {
        return Err(broken("its list of entries is damaged"));
    }
    let name = list[ENTRY_LENGTH..][..lengths[0]].to_vec();
    let (flags, method) = (short(list, 8), short(list, 10));
    if flags & 0x2041 != 0 {
        return Err(of(&name, "is encrypted", "pack it without a password"));
    }
    if method != STORED && method != DEFLATED {
        let problem = format!("is packed by method {method}, which not every `unzip` knows");
        return Err(of(&name, problem, MEND_ZIP));
    }
    if name.contains(&0) || name.contains(&b'\\') {
        return Err(of(&name, "has a NUL byte or a backslash in its name", MEND_ZIP));
    }
    refuse_other_name(&list[ENTRY_LENGTH + lengths[0]..][..lengths[1]], &name)?;
    let (packed, size, header) = (long(list, 20), long(list, 24), long(list, 42));
    if [packed, size, header].contains(&u32::MAX) {
        return Err(of(&name, "uses the zip64 form", "pack it with `tar -czf`"));
    }
    let kind = kind(&name, list[5], long(list, 38) >> 16)?;
    if kind == FOLDER && size > 0 {
        return Err(of(&name, "has a body but is not a file", MEND_ZIP));
    }
    let data = data(file, header.into(), &name, method)?;
    let (packed, size, crc) = (packed.into(), size.into(), long(list, 16));
    Ok((Entry { name, kind, method, crc, packed, size, data }, length))
}

/// Whether an entry is a file, a folder or a link.
fn kind(name: &[u8], system: u8, mode: u32) -> Result<u32, Unfit> {
    let is_folder = name.ends_with(b"/");
    match mode & KIND {
        0 | FILE if !is_folder => Ok(FILE),
        0 | FOLDER if is_folder => Ok(FOLDER),
        LINK if !is_folder && system == UNIX => Ok(LINK),
        0 | FILE | FOLDER | LINK => Err(of(name, "is two kinds of entries at once", MEND_ZIP)),
        _ => Err(of(name, "is a device or a named pipe", MEND_KINDS)),
    }
}

fn refuse_other_name(mut extra: &[u8], name: &[u8]) -> Result<(), Unfit> {
    while extra.len() >= 4 {
        let (kind, length) = (short(extra, 0), usize::from(short(extra, 2)));
        let Some(value) = extra.get(4..4 + length) else { break };
        // After a version and a checksum.
        if kind == OTHER_NAME && value.get(5..) != Some(name) {
            return Err(of(name, "has a second name", MEND_ZIP));
        }
        extra = &extra[4 + length..];
    }
    Ok(())
}

/// Where an entry's data begins. The header there must be about the same entry.
fn data(file: &File, at: u64, name: &[u8], method: u16) -> Result<u64, Unfit> {
    let header = read_at(file, at, HEADER_LENGTH)?;
    let (own, extra) = (usize::from(short(&header, 26)), usize::from(short(&header, 28)));
    let after = at + HEADER_LENGTH as u64;
    let is_same = header.starts_with(HEADER) && short(&header, 8) == method;
    if !is_same || read_at(file, after, own)? != name {
        return Err(of(name, "has another header before its data than in the list", MEND_ZIP));
    }
    Ok(after + (own + extra) as u64)
}

impl Entry {
    /// Its data, unpacked.
    fn bytes<'a>(&self, mut file: &'a File) -> Result<Box<dyn Read + 'a>, Unfit> {
        file.seek(SeekFrom::Start(self.data)).map_err(|error| torn(&error))?;
        let packed = BufReader::new(file.take(self.packed));
        Ok(if self.method == STORED {
            Box::new(packed)
        } else {
            Box::new(DeflateDecoder::new(packed))
        })
    }

    /// Unpacks it into nothing, and returns its size: at most one byte more than `left`.
    fn unpack(&self, file: &File, left: u64) -> Result<u64, Unfit> {
        let mut bytes = self.bytes(file)?.take(left.saturating_add(1));
        let (mut crc, mut size, mut buffer) = (Crc::new(), 0, vec![0; 64 * 1024]);
        loop {
            let count = bytes.read(&mut buffer).map_err(|error| torn(&error))?;
            if count == 0 {
                break;
            }
            crc.update(&buffer[..count]);
            size += count as u64;
        }
        if size <= left && (size != self.size || crc.sum() != self.crc) {
            return Err(of(&self.name, "is damaged: its size or checksum is wrong", MEND_ZIP));
        }
        Ok(size)
    }

    /// The target of a link.
    fn target(&self, file: &File) -> Result<Vec<u8>, Unfit> {
        let mut target = Vec::new();
        let read = self.bytes(file)?.take(LONGEST_TARGET + 1).read_to_end(&mut target);
        read.map_err(|error| torn(&error))?;
        if target.len() as u64 > LONGEST_TARGET || target.contains(&0) {
            return Err(of(&self.name, "is a link to no path", MEND_LINKS));
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests;
