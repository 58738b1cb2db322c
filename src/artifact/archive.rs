//! Checks a tar archive before it is sent: no entry may end up outside its release's folder.
//!
//! * Names are relative and without `..`; the target of a link is within the folder, also through other links.
//! * No entry is behind a link, and no path is both a link and something else.
//! * There are only files, folders and links.
//!
//! A node unpacks with its own tar. Everything that two tars could read differently is refused: a size that
//! is not a plain number, an unexpected body, entries after the end. The tar crate reads only the headers, for
//! this reason and because it would allocate as much memory for long names as the archive asks for.

use std::io::{self, BufRead, BufReader, Read};

use tar::{EntryType, Header};

use super::links::{Links, Outside, Place, place};
use super::unfit::Unfit;
use crate::node::Packing;
use crate::text;

/// Everything in an archive begins at a multiple of this.
const BLOCK: u64 = 512;

/// A file occupies a multiple of this on a node's disk.
pub(super) const DISK_BLOCK: u64 = 4096;

/// The limit for the names and attributes of one entry, far above usual ones.
const EXTENSION_LIMIT: u64 = 1024 * 1024;

/// The limit of entries. More are not one release, and could use up a node's inodes.
const MOST_ENTRIES: u64 = 1_000_000;

/// An archive may always unpack to this size …
const ALWAYS_FINE: u64 = 4 * 1024 * 1024 * 1024;

/// … and to this many times its packed size. Programs and data shrink to a third, logs to a twentieth.
const RATIO: u64 = 200;

pub(super) const MEND_NAMES: &str = "pack it from within its folder: `tar -C FOLDER -czf FILE .`";
pub(super) const MEND_LINKS: &str =
    "pack what the link leads to (`tar -h`), or create the link on the node with a `run` step";
pub(super) const MEND_KINDS: &str = "leave it out; a release holds files, folders and links";
const MEND_FORM: &str = "pack it again with `tar -czf`";

/// The limit of the unpacked size of an archive.
pub(super) fn most_unpacked(size: u64) -> u64 {
    ALWAYS_FINE.max(size.saturating_mul(RATIO))
}

/// Checks the archive in `bytes` and returns its size on a disk when unpacked.
///
/// # Errors
///
/// Names the first entry that must not be unpacked, and the reason.
pub(super) fn check(bytes: impl Read, size: u64, packing: &Packing) -> Result<u64, Unfit> {
    ArchiveCheck {
        bytes: BufReader::with_capacity(64 * 1024, bytes),
        packed_by: packing.tool(),
        packed: size,
        most: most_unpacked(size),
        read: 0,
        entries: 0,
        disk: 0,
        links: Links::default(),
    }
    .all()
}

/// An archive that is being checked.
struct ArchiveCheck<R> {
    bytes: R,
    /// The tool that unpacks it, if it is packed.
    packed_by: Option<&'static str>,
    /// Its own size.
    packed: u64,
    /// The limit of its unpacked size.
    most: u64,
    read: u64,
    entries: u64,
    disk: u64,
    links: Links,
}

/// Attributes that precede an entry and apply to it.
#[derive(Debug, Default)]
struct Attributes {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    /// Set by a pax header, which may occur once.
    pax: bool,
}

pub(super) fn unfit(problem: impl Into<String>, mend: &'static str) -> Unfit {
    Unfit { problem: problem.into(), mend: Some(mend) }
}

pub(super) fn of(name: &[u8], problem: impl std::fmt::Display, mend: &'static str) -> Unfit {
    unfit(format!("its entry {} {problem}", shown(name)), mend)
}

fn shown(name: &[u8]) -> String {
    format!("`{}`", text::line(&String::from_utf8_lossy(name), 120))
}

fn torn(packed_by: Option<&str>, error: &io::Error) -> Unfit {
    let packed = packed_by.map_or(String::new(), |tool| format!(", packed by {tool}"));
    unfit(format!("it is not a whole tar archive{packed}: {error}"), MEND_FORM)
}

impl<R: BufRead> ArchiveCheck<R> {
    fn all(mut self) -> Result<u64, Unfit> {
        let mut said = Attributes::default();
        while let Some(header) = self.header()? {
            let kind = header.entry_type();
            let size = size(&header)?;
            match kind {
                EntryType::GNULongName => once(&mut said.name, self.long_name(size)?)?,
                EntryType::GNULongLink => once(&mut said.target, self.long_name(size)?)?,
                EntryType::XHeader if !said.pax => {
                    let body = self.extension(size)?;
                    said.read_pax(&body)?;
                }
                EntryType::XHeader => return Err(twice()),
                EntryType::XGlobalHeader => {
                    let body = self.extension(size)?;
                    let mut of_all = Attributes::default();
                    of_all.read_pax(&body)?;
                    if of_all.name.is_some() || of_all.target.is_some() || of_all.size.is_some() {
                        return Err(unfit(
                            "its global header gives all entries the same name or size",
                            MEND_FORM,
                        ));
                    }
                }
                _ => self.entry(&header, size, std::mem::take(&mut said))?,
            }
        }
        if said.name.is_some() || said.target.is_some() || said.pax {
            return Err(unfit("it ends before the entry that it announced", MEND_FORM));
        }
        if let Some((link, target)) = self.links.leading_out() {
            let problem = format!("leads out of the release's folder, to {}", shown(target));
            return Err(of(link, problem, MEND_LINKS));
        }
        Ok(self.disk)
    }

    fn entry(&mut self, header: &Header, size: u64, said: Attributes) -> Result<(), Unfit> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            let problem = format!("it has more than {MOST_ENTRIES} entries");
            return Err(unfit(
                problem,
                "pack some of them as an archive inside this one, and unpack it with a `run` step",
            ));
        }
        let name = said.name.unwrap_or_else(|| name_of(header));
        let target = said.target.unwrap_or_else(|| until_nul(&header.as_old().linkname).to_vec());
        let size = said.size.unwrap_or(size);
        for text in [&name, &target] {
            if text.contains(&0) {
                return Err(of(&name, "has a NUL byte in its name", MEND_FORM));
            }
        }
        let at = placed(&self.links, &name)?;
        let file = matches!(header.entry_type(), EntryType::Regular | EntryType::Continuous)
            && !name.ends_with(b"/");
        if size > 0 && !file {
            return Err(of(&name, "has a body but is not a file", MEND_FORM));
        }
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {
                let folder = header.entry_type() == EntryType::Directory || name.ends_with(b"/");
                if at.is_empty() && !folder {
                    return Err(of(&name, "replaces the release's folder", MEND_NAMES));
                }
                if self.links.at(&at).is_some() {
                    return Err(of(&name, "occurs twice, once as a link", MEND_FORM));
                }
            }
            EntryType::Symlink => self.link(&name, at, target)?,
            EntryType::Link => {
                let Ok(original) = place(&target) else {
                    let problem =
                        format!("is a hard link to {}, outside the archive", shown(&target));
                    return Err(of(&name, problem, MEND_LINKS));
                };
                if let Some(link) = self.links.above(&original) {
                    let problem = format!(
                        "is a hard link to {}, behind the link {}",
                        shown(&target),
                        shown(link)
                    );
                    return Err(of(&name, problem, MEND_LINKS));
                }
                // A hard link to a link is a link too, and from its other folder it has another target.
                if let Some(target) = self.links.at(&original).map(<[u8]>::to_vec) {
                    self.link(&name, at, target)?;
                }
            }
            kind => {
                let kind = match kind {
                    EntryType::Char | EntryType::Block => "a device".to_owned(),
                    EntryType::Fifo => "a named pipe".to_owned(),
                    EntryType::GNUSparse => return Err(sparse(&name)),
                    other => format!("of the kind `{}`", other.as_byte().escape_ascii()),
                };
                return Err(of(&name, format!("is {kind}"), MEND_KINDS));
            }
        }
        self.disk = self.disk.saturating_add(size.max(1).next_multiple_of(DISK_BLOCK));
        self.skip(size)
    }

    fn link(&mut self, name: &[u8], at: Place, target: Vec<u8>) -> Result<(), Unfit> {
        if at.is_empty() {
            return Err(of(name, "replaces the release's folder", MEND_NAMES));
        }
        if self.links.at(&at).is_some_and(|other| other != target) {
            return Err(of(name, "occurs twice, as links to different places", MEND_FORM));
        }
        if self.links.add(at, target) {
            return Ok(());
        }
        Err(unfit("it has too many links to check", "pack what the links lead to"))
    }

    /// The next header; `None` at the end, with nothing after it.
    fn header(&mut self) -> Result<Option<Header>, Unfit> {
        let mut header = Header::new_old();
        if self.bytes.fill_buf().map_err(|error| torn(self.packed_by, &error))?.is_empty() {
            return Ok(None);
        }
        self.bytes
            .read_exact(header.as_mut_bytes())
            .map_err(|error| torn(self.packed_by, &error))?;
        self.count(BLOCK)?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        if !is_sound(&header) {
            return Err(unfit("it has a header that is not a tar header", MEND_FORM));
        }
        Ok(Some(header))
    }

    /// Reads to the last byte: some tars go on after the end marker, others do not.
    fn end(&mut self) -> Result<(), Unfit> {
        loop {
            let bytes = self.bytes.fill_buf().map_err(|error| torn(self.packed_by, &error))?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(unfit("it has data after its end", MEND_FORM));
            }
            let count = bytes.len();
            self.bytes.consume(count);
            self.count(count as u64)?;
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Unfit> {
        if size > EXTENSION_LIMIT {
            let size = text::size(size);
            return Err(unfit(format!("it has an entry whose name takes {size}"), MEND_FORM));
        }
        let mut body = Vec::new();
        self.bytes
            .by_ref()
            .take(size)
            .read_to_end(&mut body)
            .map_err(|error| torn(self.packed_by, &error))?;
        self.count(size)?;
        if (body.len() as u64) < size {
            return Err(torn(self.packed_by, &io::ErrorKind::UnexpectedEof.into()));
        }
        self.skip_bytes(size.next_multiple_of(BLOCK) - size)?;
        Ok(body)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Unfit> {
        Ok(until_nul(&self.extension(size)?).to_vec())
    }

    /// Skips an entry's body.
    fn skip(&mut self, size: u64) -> Result<(), Unfit> {
        if size > self.most {
            return self.count(size);
        }
        self.skip_bytes(size.next_multiple_of(BLOCK))
    }

    fn skip_bytes(&mut self, mut left: u64) -> Result<(), Unfit> {
        while left > 0 {
            let here =
                self.bytes.fill_buf().map_err(|error| torn(self.packed_by, &error))?.len() as u64;
            if here == 0 {
                return Err(torn(self.packed_by, &io::ErrorKind::UnexpectedEof.into()));
            }
            let count = here.min(left);
            self.bytes.consume(usize::try_from(count).unwrap_or(usize::MAX));
            self.count(count)?;
            left -= count;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Unfit> {
        self.read = self.read.saturating_add(bytes);
        if self.read <= self.most {
            return Ok(());
        }
        let problem = format!(
            "it has {}, but unpacks to more than {}: too large for a release",
            text::size(self.packed),
            text::size(self.most)
        );
        Err(unfit(problem, "leave out the empty data, or create it on the node with a `run` step"))
    }
}

/// The path of an entry within the folder.
pub(super) fn placed(links: &Links, name: &[u8]) -> Result<Place, Unfit> {
    let at = place(name).map_err(|outside| {
        let problem = match outside {
            Outside::Absolute => "has an absolute name",
            Outside::Up => "has `..` in its name, which leads out of the release's folder",
        };
        of(name, problem, MEND_NAMES)
    })?;
    match links.above(&at) {
        None => Ok(at),
        Some(link) => Err(of(name, format!("is behind the link {}", shown(link)), MEND_LINKS)),
    }
}

impl Attributes {
    /// Reads records in the format of pax, `LENGTH NAME=VALUE` and a line break; a value may contain
    /// anything.
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), Unfit> {
        let odd = || unfit("it has attributes that cannot be read", MEND_FORM);
        self.pax = true;
        while !records.is_empty() {
            let blank = records.iter().position(|byte| *byte == b' ').ok_or_else(odd)?;
            let length =
                number(&records[..blank], 10).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| (blank + 1..=records.len()).contains(length));
            let (record, rest) = records.split_at(length.ok_or_else(odd)?);
            records = rest;
            let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(odd)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(odd)?;
            let (name, value) = (&record[..equals], &record[equals + 1..]);
            match name {
                b"path" => once(&mut self.name, value.to_vec())?,
                b"linkpath" => once(&mut self.target, value.to_vec())?,
                b"size" => once(&mut self.size, number(value, 10).ok_or_else(odd)?)?,
                name if name.starts_with(b"GNU.sparse.") => {
                    return Err(sparse(self.name.as_deref().unwrap_or(b"?")));
                }
                name if name.first().is_none_or(u8::is_ascii_whitespace) => return Err(odd()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn sparse(name: &[u8]) -> Unfit {
    of(name, "is a sparse file", "pack it without `--sparse` (bsdtar: with `--no-read-sparse`)")
}

fn twice() -> Unfit {
    unfit("it gives an entry's name or size twice", MEND_FORM)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Unfit> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

/// Whether a header has the right checksum and a form that every tar reads.
fn is_sound(header: &Header) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // The checksum field itself counts as blanks.
    let right = sum(header.as_bytes()) - sum(&header.as_old().cksum) + sum(&[b' '; 8]);
    let form = &header.as_bytes()[257..265];
    let known = header.as_ustar().is_some() || header.as_gnu().is_some() || form == [0; 8];
    known && header.cksum().ok() == Some(right)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn name_of(header: &Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    match header.as_ustar().map(|ustar| until_nul(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        Some(_) | None => name.to_vec(),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// The size in a header: octal digits between blanks or, for large files, a binary number.
fn size(header: &Header) -> Result<u64, Unfit> {
    let field = &header.as_old().size;
    let size = if let [0x80, 0, 0, 0, low @ ..] = field {
        Some(u64::from_be_bytes(*low))
    } else {
        let end = field.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |at| at + 1);
        number(field[..end].trim_ascii_start(), 8)
    };
    size.ok_or_else(|| of(&name_of(header), "has a size that is not a number", MEND_FORM))
}

#[cfg(test)]
mod tests;
