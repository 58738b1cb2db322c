//! The links of an archive, and whether one of them leads out of the release's folder.
//!
//! They are judged when all are known: the target of one may depend on another.

use std::collections::{BTreeMap, VecDeque};

/// How many links may follow one another; Linux has the same limit.
const DEPTH: usize = 40;

/// The limit of the links' memory, in bytes.
const MEMORY: usize = 64 * 1024 * 1024;

/// The memory of a link beyond its text.
const OVERHEAD: usize = 128;

/// A path within the folder: names with `/` between them; empty for the folder itself.
pub(super) type Place = Vec<u8>;

/// Links by their path.
#[derive(Debug, Default)]
pub(super) struct Links {
    targets: BTreeMap<Place, Vec<u8>>,
    memory: usize,
}

/// Why a name is not a path within the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outside {
    /// It begins with `/`.
    Absolute,
    /// It goes up beyond its start, or could.
    Up,
}

/// Reads the name of an entry, or the target of a hard link.
pub(super) fn place(name: &[u8]) -> Result<Place, Outside> {
    if name.starts_with(b"/") {
        return Err(Outside::Absolute);
    }
    let mut place = Place::new();
    for part in parts(name) {
        if part == b".." {
            return Err(Outside::Up);
        }
        push(&mut place, part);
    }
    Ok(place)
}

fn parts(name: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

fn push(place: &mut Place, part: &[u8]) {
    if !place.is_empty() {
        place.push(b'/');
    }
    place.extend_from_slice(part);
}

/// The folder of a path; the top folder has none.
fn parent(place: &[u8]) -> Option<&[u8]> {
    let slash = place.iter().rposition(|byte| *byte == b'/');
    match slash {
        Some(slash) => Some(&place[..slash]),
        None if place.is_empty() => None,
        None => Some(&[]),
    }
}

impl Links {
    /// The target of the link at a path.
    pub(super) fn at(&self, place: &[u8]) -> Option<&[u8]> {
        self.targets.get(place).map(Vec::as_slice)
    }

    /// The link that a path is behind.
    pub(super) fn above<'a>(&self, mut place: &'a [u8]) -> Option<&'a [u8]> {
        while let Some(folder) = parent(place) {
            if self.at(folder).is_some() {
                return Some(folder);
            }
            place = folder;
        }
        None
    }

    /// Adds a link. Returns whether the memory limit allows it.
    pub(super) fn add(&mut self, place: Place, target: Vec<u8>) -> bool {
        self.memory += place.len() + target.len() + OVERHEAD;
        self.targets.insert(place, target);
        self.memory <= MEMORY
    }

    /// The first link that leads out, with its target.
    pub(super) fn leading_out(&self) -> Option<(&[u8], &[u8])> {
        let found = self.targets.iter().find(|(place, target)| self.leads_out(place, target));
        found.map(|(place, target)| (place.as_slice(), target.as_slice()))
    }

    /// Follows a link the way the kernel does.
    fn leads_out(&self, link: &[u8], target: &[u8]) -> bool {
        let mut at: Place = parent(link).unwrap_or_default().to_vec();
        let mut left: VecDeque<&[u8]> = parts(target).collect();
        if target.starts_with(b"/") {
            return true;
        }
        let mut followed = 0;
        while let Some(part) = left.pop_front() {
            if part == b".." {
                let Some(folder) = parent(&at).map(<[u8]>::len) else { return true };
                at.truncate(folder);
                continue;
            }
            let folder = at.len();
            push(&mut at, part);
            let Some(target) = self.at(&at) else { continue };
            if target.starts_with(b"/") {
                return true;
            }
            followed += 1;
            if followed > DEPTH {
                // The kernel does not follow it either.
                return false;
            }
            at.truncate(folder);
            for part in parts(target).rev() {
                left.push_front(part);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading_out(links: &[(&str, &str)]) -> Option<String> {
        let mut all = Links::default();
        for (at, target) in links {
            assert!(all.add(place(at.as_bytes()).expect("a place"), target.as_bytes().to_vec()));
        }
        all.leading_out().map(|(place, _)| String::from_utf8_lossy(place).into_owned())
    }

    #[test]
    fn name_outside_the_folder_is_refused() {
        assert_eq!(place(b"./a//b/./c/"), Ok(b"a/b/c".to_vec()));
        assert_eq!(place(b"./"), Ok(Vec::new()));
        assert_eq!(place(b"..a/b.."), Ok(b"..a/b..".to_vec()));
        assert_eq!(place(b"/a"), Err(Outside::Absolute));
        for name in ["..", "a/../b", "a/..", "./../a"] {
            assert_eq!(place(name.as_bytes()), Err(Outside::Up), "{name}");
        }
    }

    #[test]
    fn link_to_any_path_within_the_folder_is_accepted() {
        let links = [
            ("current", "v2"),
            ("lib/a", "../shared/b"),
            ("lib/root", ".."),
            ("lib/deep/x", "../../current/y"),
            ("self", "self"),
            ("one", "other/x"),
            ("other", "one"),
        ];
        assert_eq!(leading_out(&links), None);
    }

    #[test]
    fn link_that_leads_out_through_other_links_is_found() {
        for (links, link) in [
            (&[("a", "/etc")][..], "a"),
            (&[("a", "..")], "a"),
            (&[("a/b", "../../x")], "a/b"),
            (&[("a/b", "x/../../../y")], "a/b"),
            // Read textually it stays inside; when followed, `up` is the folder itself.
            (&[("l", "x/y/up/.."), ("x/y/up", "../..")], "l"),
            (&[("l", "s/z"), ("s", "t"), ("t", "../u")], "l"),
        ] {
            assert_eq!(leading_out(links).as_deref(), Some(link), "{links:?}");
        }
    }

    #[test]
    fn path_behind_a_link_is_found() {
        let mut links = Links::default();
        links.add(b"a/b".to_vec(), b"c".to_vec());
        assert_eq!(links.above(b"a/b/c/d"), Some(&b"a/b"[..]));
        assert_eq!(links.above(b"a/b"), None);
        assert_eq!(links.above(b"a/bc/d"), None);
    }

    #[test]
    fn links_take_bounded_memory() {
        let mut links = Links::default();
        let room = |links: &mut Links, number: u32| {
            links.add(number.to_be_bytes().to_vec(), vec![b'x'; 64 * 1024])
        };
        let fitting = (0..2000).take_while(|number| room(&mut links, *number)).count();
        assert!((1000..1024).contains(&fitting), "{fitting}");
    }
}
