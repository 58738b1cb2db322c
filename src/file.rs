//! Files of this machine: bounded reads, and writes that other users can neither read nor replace.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;

/// Only this user may list the folder and open files in it.
const PRIVATE_FOLDER: u32 = 0o700;

/// Only this user may read or write a file.
const PRIVATE_FILE: u32 = 0o600;

/// The mark at the start of a file by which some editors show its encoding.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Returns whether a file begins as UTF-16 does in some editors and shells.
#[must_use]
pub fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}

/// Removes the mark of UTF-8 at the start of a text.
#[must_use]
pub fn without_mark(text: String) -> String {
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Reads at most `most` bytes.
///
/// # Errors
///
/// Names the reason, including too large.
pub fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("it has more than {}", crate::text::size(most)));
    }
    Ok(bytes)
}

/// Reads a text of at most `most` bytes, without the mark of UTF-8 at its start.
///
/// # Errors
///
/// Names the reason, including too large and not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, String> {
    let bytes = read_bytes(path, most)?;
    if is_utf16(&bytes) {
        return Err("it is UTF-16, not UTF-8".to_owned());
    }
    String::from_utf8(bytes).map(without_mark).map_err(|error| {
        let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = whole.split(|byte| *byte == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}

/// Creates a folder and its parents for this user alone; an existing folder is closed to others.
///
/// # Errors
///
/// When the system refuses, or a symlink in the path may belong to another user. A folder of another user stays
/// unchanged.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    for part in path.ancestors() {
        refuse_foreign_link(part)?;
    }
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(&path)?;
    // The permissions are set on the inspected folder, even if its name has been given to another one
    // meanwhile.
    let is_link = fs::symlink_metadata(&path)?.is_symlink();
    if is_link {
        refuse_foreign_link(&path)?;
    }
    let follow = if is_link { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = (OFlags::DIRECTORY | follow).bits().cast_signed();
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
    if is_open_to_others(&folder.metadata()?.permissions(), PRIVATE_FOLDER) {
        let _ = folder.set_permissions(Permissions::from_mode(PRIVATE_FOLDER));
    }
    Ok(())
}

/// A symlink may lead anywhere: only links of this user and of root are followed, and only where no other
/// user can replace them.
fn refuse_foreign_link(path: &Path) -> io::Result<()> {
    let Ok(link) = fs::symlink_metadata(path) else { return Ok(()) };
    if !link.is_symlink() {
        return Ok(());
    }
    let is_own = [0, rustix::process::geteuid().as_raw()].contains(&link.uid());
    let folder = path.parent().map(fs::metadata).transpose()?;
    let is_shared = folder.is_some_and(|folder| folder.mode() & 0o1002 == 0o002);
    if is_own && !is_shared {
        return Ok(());
    }
    let why = if is_own {
        "lies in a folder that every user can write to"
    } else {
        "belongs to another user"
    };
    Err(io::Error::other(format!(
        "{} is a symlink and {why}: choose another state folder with --state-dir",
        path.display()
    )))
}

/// Opens a file that only this user may read; an existing one is closed to others.
///
/// # Errors
///
/// When the system refuses, or the path is a symlink or not a regular file. A file of another user stays
/// unchanged.
pub fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = regular(options.mode(PRIVATE_FILE).custom_flags(no_follow()).open(path)?)?;
    if is_open_to_others(&file.metadata()?.permissions(), PRIVATE_FILE) {
        let _ = file.set_permissions(Permissions::from_mode(PRIVATE_FILE));
    }
    Ok(file)
}

/// Opens a file for reading.
///
/// # Errors
///
/// When the system refuses, or the path is a symlink or not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?)
}

/// A pipe without a writer must not block the process that opens it.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn is_open_to_others(now: &Permissions, wanted: u32) -> bool {
    now.mode() & 0o777 & !wanted != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn new_file_is_private_and_existing_one_is_closed_to_others() {
        let root = tempfile::tempdir().expect("temp dir");
        let folder = root.path().join("a/b");
        private_folder(&folder).expect("made");
        assert_eq!((mode(&root.path().join("a")), mode(&folder)), (0o700, 0o700));
        let path = folder.join("file");
        drop(open_private(&path, OpenOptions::new().write(true).create(true)).expect("made"));
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("chmod");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        private_folder(&folder).expect("there");
        drop(open_private(&path, OpenOptions::new().append(true)).expect("opened"));
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
    }

    #[test]
    fn symlink_that_others_can_replace_is_not_followed_to_a_private_folder() {
        let root = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| root.path().join(name);
        for name in ["victim", "shared"] {
            fs::create_dir(path(name)).expect("mkdir");
            fs::set_permissions(path(name), Permissions::from_mode(0o755)).expect("chmod");
        }
        symlink(path("victim"), path("own")).expect("symlink");
        symlink(path("victim"), path("shared/app")).expect("symlink");
        let refused = |place: &str| {
            let error = private_folder(&path(place)).expect_err(place).to_string();
            assert!(error.contains("is a symlink and "), "{error}");
            assert_eq!(mode(&path("victim")), 0o755, "{place}");
            assert_eq!(fs::read_dir(path("victim")).expect("read dir").count(), 0, "{place}");
        };
        // Any user can replace it.
        fs::set_permissions(path("shared"), Permissions::from_mode(0o777)).expect("chmod");
        refused("shared/app");
        refused("shared/app/below");
        // A link that this user has created is followed.
        private_folder(&path("own")).expect("followed");
        assert_eq!(mode(&path("victim")), 0o700);
        private_folder(&path("own/below")).expect("followed");
        assert_eq!(mode(&path("victim/below")), 0o700);
    }

    #[test]
    fn symlink_and_irregular_file_are_not_opened() {
        let root = tempfile::tempdir().expect("temp dir");
        let victim = root.path().join("victim");
        fs::write(&victim, "precious").expect("write");
        let link = root.path().join("link");
        symlink(&victim, &link).expect("symlink");
        let mut truncating = OpenOptions::new();
        truncating.write(true).create(true).truncate(true);
        assert!(open_private(&link, &mut truncating).is_err());
        assert!(open_regular(&link).is_err());
        assert!(open_regular(root.path()).is_err(), "a folder");
        assert!(open_regular(Path::new("/dev/null")).is_err(), "a device");
        assert_eq!(fs::read_to_string(&victim).expect("read"), "precious");
    }

    #[test]
    fn a_text_is_bounded_and_utf_8() {
        let root = tempfile::tempdir().expect("temp dir");
        let path = root.path().join("text");
        fs::write(&path, b"good\nb\xe4d\n").expect("write");
        assert_eq!(read_text(&path, 100), Err("line 2 is not UTF-8".into()));
        fs::write(&path, "12345").expect("write");
        assert_eq!(read_text(&path, 5), Ok("12345".into()));
        assert_eq!(read_text(&path, 4), Err("it has more than 4 B".into()));
        assert!(read_text(Path::new("/dev/zero"), 1000).is_err());
    }
}
