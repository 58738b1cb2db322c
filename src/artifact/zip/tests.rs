//! Checks hostile and usual zip archives, built byte by byte.

use std::io::Write as _;

use super::*;

/// An entry as both of its lists describe it.
#[derive(Clone)]
struct Packed {
    name: &'static str,
    /// Its name in the header before its data.
    header: &'static str,
    body: &'static [u8],
    mode: u32,
    flags: u16,
    method: u16,
    /// A size that is not that of its data.
    size: Option<u32>,
    extra: Vec<u8>,
}

fn file(name: &'static str) -> Packed {
    Packed {
        name,
        header: name,
        body: b"abc",
        mode: 0o100_644,
        flags: 0,
        method: STORED,
        size: None,
        extra: Vec::new(),
    }
}

fn link(name: &'static str, target: &'static str) -> Packed {
    Packed { body: target.as_bytes(), mode: 0o120_777, ..file(name) }
}

fn zip(parts: &[Packed]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for part in parts {
        let mut crc = Crc::new();
        crc.update(part.body);
        let at = u32::try_from(bytes.len()).expect("small");
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("small").to_le_bytes();
        let packed = u32::try_from(part.body.len()).expect("small");
        let shared = [
            &part.flags.to_le_bytes()[..],
            &part.method.to_le_bytes(),
            &[0; 4],
            &crc.sum().to_le_bytes(),
            &packed.to_le_bytes(),
            &part.size.unwrap_or(packed).to_le_bytes(),
        ]
        .concat();
        bytes
            .extend([HEADER, &[20, 0], &shared, &length(part.header.as_bytes()), &[0, 0]].concat());
        bytes.extend([part.header.as_bytes(), part.body].concat());
        list.extend([ENTRY, &[20, UNIX, 20, 0], &shared, &length(part.name.as_bytes())].concat());
        list.extend([&length(&part.extra)[..], &[0; 6]].concat());
        list.extend((part.mode << 16).to_le_bytes());
        list.extend(at.to_le_bytes());
        list.extend([part.name.as_bytes(), &part.extra].concat());
    }
    let count = u16::try_from(parts.len()).expect("few").to_le_bytes();
    let number = |number: usize| u32::try_from(number).expect("small").to_le_bytes();
    let end = [&number(list.len())[..], &number(bytes.len()), &[0, 0]].concat();
    [bytes, list, [END, &[0; 4], &count, &count, &end].concat()].concat()
}

fn judge(bytes: &[u8]) -> Result<u64, Unfit> {
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(bytes).expect("written");
    check(&file, bytes.len() as u64)
}

#[track_caller]
fn refused(why: &str, parts: &[Packed]) {
    let unfit = judge(&zip(parts)).expect_err(why);
    assert!(unfit.problem.contains(why), "{unfit}");
}

#[test]
fn usual_archives_are_fine() {
    let folder = Packed { body: b"", mode: 0o040_755, ..file("bin/") };
    let dos = Packed { mode: 0, ..file("readme.txt") };
    let parts = [folder, file("bin/run"), link("current", "bin/run"), dos, file("bin/other")];
    assert_eq!(judge(&zip(&parts)).expect("fit"), 5 * DISK_BLOCK);
}

#[test]
fn archive_of_the_usual_tool_is_fine() {
    let folder = tempfile::tempdir().expect("temp dir");
    let script = "mkdir bin && seq 1 9999 >bin/run && ln -s bin/run link && zip -qry ../x.zip . && mv ../x.zip .";
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", script]).current_dir(folder.path()).output().expect("sh runs");
    assert!(output.status.success(), "{output:?}");
    let bytes = std::fs::read(folder.path().join("x.zip")).expect("an archive");
    assert_eq!(
        judge(&bytes).expect("fit"),
        48_894_u64.next_multiple_of(DISK_BLOCK) + 2 * DISK_BLOCK
    );
}

#[test]
fn entry_outside_the_folder_is_refused() {
    refused("its entry `/etc/x` has an absolute name", &[file("/etc/x")]);
    refused("its entry `a/../../x` has `..` in its name", &[file("a/../../x")]);
    refused("leads out of the release's folder, to `/etc`", &[link("a", "/etc")]);
    refused("leads out of the release's folder, to `../x`", &[link("a", "../x")]);
    // `unzip` creates links after everything else.
    refused("its entry `a/b` is behind the link `a`", &[file("a/b"), link("a", "c")]);
    refused("its entry `a` occurs twice", &[file("a"), link("a", "c")]);
}

#[test]
fn entry_that_tools_read_differently_is_refused() {
    refused("has another header before its data", &[Packed { header: "b", ..file("a") }]);
    refused("is encrypted", &[Packed { flags: 1, ..file("a") }]);
    refused("is packed by method 12", &[Packed { method: 12, ..file("a") }]);
    refused("has a NUL byte or a backslash in its name", &[file("a\\b")]);
    refused("is a device or a named pipe", &[Packed { mode: 0o010_644, ..file("a") }]);
    refused("is two kinds of entries at once", &[Packed { mode: 0o040_755, ..file("a") }]);
    refused("its size or checksum is wrong", &[Packed { size: Some(9), ..file("a") }]);
    let other = [&OTHER_NAME.to_le_bytes()[..], &[8, 0, 1, 0, 0, 0, 0], b"../"].concat();
    refused("has a second name", &[Packed { extra: other, ..file("a") }]);
}

#[test]
fn damaged_archive_is_refused() {
    let whole = zip(&[file("a"), file("b")]);
    judge(&whole).expect("fit");
    for bytes in
        [&whole[..whole.len() - 1], &whole[1..], &[whole.as_slice(), b"x"].concat(), b"", b"PK"]
    {
        let unfit = judge(bytes).expect_err("damaged");
        assert!(unfit.problem.contains("it is not a whole zip archive"), "{unfit}");
    }
}
