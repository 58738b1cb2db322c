//! Writes the page of a release to a file.

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::file;
use crate::ops::{Cause, Refusal};
use crate::report::html::MARK;
use crate::text::harmless;

/// How much of a file is read to tell whether it is a page of rollgate.
const HEAD: u64 = 512;

/// Writes a page. An earlier page of rollgate is replaced, any other file is not.
pub(super) fn write(path: &Path, page: &str) -> Result<(), Refusal> {
    let shown = harmless(&path.display().to_string());
    let failed = |error: std::io::Error| {
        Refusal::new(Cause::Internal, format!("cannot write {shown}: {error}"))
    };
    match is_own(path) {
        Ok(true) => {}
        Ok(false) => {
            let problem = format!("{shown} is there already, and is no page of rollgate");
            return Err(
                Refusal::new(Cause::Invalid, problem).hint("name another file, or delete it")
            );
        }
        Err(error) => return Err(failed(error)),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // The page is made to be passed on: the user's mask decides who may read it.
    let file = tempfile::Builder::new()
        .prefix(".rollgate-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")));
    let written = file.and_then(|mut file| {
        file.write_all(page.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(drop).map_err(failed)
}

/// Returns whether a page may be written there: the file does not exist, or it is an earlier page.
fn is_own(path: &Path) -> std::io::Result<bool> {
    // A symlink leads elsewhere, perhaps to nothing.
    let mut file = match file::open_regular(path) {
        Ok(file) => file.take(HEAD),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(true),
        Err(_) if path.exists() || path.is_symlink() => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut head = Vec::new();
    file.read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).contains(MARK))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_an_earlier_page_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.html");
        let (first, second) = (format!("<head>{MARK}1\"> one"), format!("<head>{MARK}2\"> two"));
        for page in [&first, &second] {
            write(&path, page).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("a page"), *page);
        }
        fs::write(&path, "another page").expect("a file");
        let link = folder.path().join("link.html");
        symlink(folder.path().join("nowhere"), &link).expect("a link");
        for foreign in [&path, &link, folder.path()] {
            let refusal = write(foreign, &first).expect_err("it is refused");
            assert_eq!(refusal.cause, Cause::Invalid, "{}", refusal.reason);
        }
        assert_eq!(fs::read_to_string(&path).expect("a file"), "another page");
        let refusal = write(&folder.path().join("none/page.html"), &first).expect_err("no folder");
        assert_eq!(refusal.cause, Cause::Internal);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing is left");
    }
}
