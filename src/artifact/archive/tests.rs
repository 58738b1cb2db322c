//! Checks hostile and usual archives, built byte by byte.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

fn header(kind: EntryType, name: &str, target: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    // Bypasses the crate's own checks.
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

fn body(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str) -> Vec<u8> {
    body(&header(EntryType::Regular, name, "", 3), b"abc")
}

fn folder(name: &str) -> Vec<u8> {
    body(&header(EntryType::Directory, name, "", 0), b"")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    body(&header(EntryType::Symlink, name, target, 0), b"")
}

fn hard(name: &str, target: &str) -> Vec<u8> {
    body(&header(EntryType::Link, name, target, 0), b"")
}

fn said(kind: EntryType, text: &str) -> Vec<u8> {
    body(&header(kind, "said", "", text.len() as u64), text.as_bytes())
}

fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let length = (1..9999).find(|length: &usize| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.expect("there is one"))
}

fn pax(name: &str, value: &str) -> Vec<u8> {
    said(EntryType::XHeader, &record(name, value))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn check_gzip(packed: &[u8]) -> Result<u64, Unfit> {
    let bytes = crate::artifact::unpack::tar(&Packing::TarGz, packed);
    check(bytes, packed.len() as u64, &Packing::TarGz)
}

fn judge(parts: &[Vec<u8>]) -> Result<u64, Unfit> {
    let packed = gzip(&[parts.concat(), vec![0; 1024]].concat());
    check_gzip(&packed)
}

#[track_caller]
fn refused(why: &str, parts: &[Vec<u8>]) -> Unfit {
    let unfit = judge(parts).expect_err(why);
    assert!(unfit.problem.contains(why), "`{why}` is not in: {unfit}");
    assert!(unfit.mend.is_some());
    assert!(!unfit.problem.contains(char::is_control), "{unfit:?}");
    unfit
}

#[test]
fn usual_archive_is_accepted_with_its_size_on_disk() {
    let parts = [
        folder("./"),
        folder("./lib/"),
        file("./lib/..a"),
        link("./lib/b", "../lib/./..a"),
        hard("./c", "./lib/..a"),
        said(EntryType::XGlobalHeader, &record("comment", "of git archive")),
        [pax("path", &"deep/".repeat(40)), folder("short")].concat(),
        [pax("mtime", "1.5\n30 path=/etc/x"), file("d")].concat(),
        [said(EntryType::GNULongName, "e\0"), said(EntryType::GNULongLink, "d\0"), link("x", "y")]
            .concat(),
    ];
    assert_eq!(judge(&parts), Ok(8 * 4096));
    assert_eq!(judge(&[]), Ok(0));
    let large = body(&header(EntryType::Regular, "a", "", 4097), &[1; 4097]);
    assert_eq!(judge(&[large]), Ok(8192));
}

#[test]
fn entry_whose_name_leads_outside_the_folder_is_refused() {
    refused("its entry `/etc/cron.d/x` has an absolute name", &[file("a"), file("/etc/cron.d/x")]);
    for name in ["../x", "a/../../x", "a/.."] {
        refused(&format!("its entry `{name}` has `..` in its name"), &[file(name)]);
        refused("has `..`", &[pax("path", name), file("short")]);
        refused("has `..`", &[said(EntryType::GNULongName, name), file("short")]);
    }
    refused("replaces the release's folder", &[link("./", "a")]);
    refused("replaces the release's folder", &[file(".")]);
    let mut split = header(EntryType::Regular, "x", "", 0);
    split.as_ustar_mut().expect("ustar").prefix[..2].copy_from_slice(b"..");
    split.set_cksum();
    refused("its entry `../x` has `..`", &[body(&split, b"")]);
    refused("its entry `/ [2Jx` has", &[file("/\x1b[2Jx")]);
}

#[test]
fn link_that_leads_outside_the_folder_is_refused() {
    refused("its entry `a` leads out of the release's folder, to `/etc`", &[link("a", "/etc")]);
    refused("its entry `a/x` is behind the link `a`", &[link("a", "/etc"), file("a/x")]);
    refused("is behind the link `b/a`", &[link("b/a", "c"), folder("b/a/x/y")]);
    refused("its entry `a/b` leads out", &[link("a/b", "../../x")]);
    refused("its entry `l` leads out", &[link("l", "x/y/up/.."), link("x/y/up", "../..")]);
    refused("its entry `a` leads out", &[said(EntryType::GNULongLink, "../x"), link("a", "b")]);
    refused("its entry `a` leads out", &[pax("linkpath", "../x"), link("a", "b")]);
    refused("`h` is a hard link to `/etc/shadow`, outside", &[hard("h", "/etc/shadow")]);
    refused("`h` is a hard link to `../x`, outside", &[hard("h", "../x")]);
    refused(
        "`h` is a hard link to `a/x`, behind the link `a`",
        &[link("a", "b"), hard("h", "a/x")],
    );
    // The link stays inside its own folder; under its other name it does not.
    refused("its entry `h` leads out", &[link("a/b/l", "../../x"), hard("h", "a/b/l")]);
    refused("occurs twice, once as a link", &[link("a", "b"), file("a")]);
    refused("occurs twice, as links to different", &[link("a", "b"), link("a", "c")]);
}

#[test]
fn only_files_folders_and_links_are_taken() {
    let of = |kind| body(&header(kind, "dev/x", "", 0), b"");
    refused("its entry `dev/x` is a device", &[of(EntryType::Block)]);
    refused("its entry `dev/x` is a device", &[of(EntryType::Char)]);
    refused("its entry `dev/x` is a named pipe", &[of(EntryType::Fifo)]);
    refused("its entry `dev/x` is a sparse file", &[of(EntryType::GNUSparse)]);
    refused("is a sparse file", &[pax("GNU.sparse.name", "../x"), file("a")]);
    refused("its entry `dev/x` is of the kind `M`", &[of(EntryType::new(b'M'))]);
    refused("its entry `dev/x` is of the kind `\\x07`", &[of(EntryType::new(7))]);
}

#[test]
fn archive_that_two_tars_could_read_differently_is_refused() {
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = header(EntryType::Regular, "a", "", 0);
        change(&mut header);
        header.set_cksum();
        body(&header, b"")
    };
    for size in ["+7", "-1", "8", "1 2", "0x1", "", "\u{ff}"] {
        let field = |header: &mut Header| {
            header.as_old_mut().size = [0; 12];
            header.as_old_mut().size[..size.len()].copy_from_slice(size.as_bytes());
        };
        refused("its entry `a` has a size that is not a number", &[with(&field)]);
    }
    refused("not a tar header", &[with(&|header| header.as_mut_bytes()[263] = b'x')]);
    refused("not a tar header", &[vec![b'x'; 512]]);
    let linked = body(&header(EntryType::Link, "a", "b", 512), &file("/etc/x")[..512]);
    refused("its entry `a` has a body but is not a file", &[linked]);
    refused(
        "has a body but is not a file",
        &[body(&header(EntryType::Regular, "a/", "", 3), b"abc")],
    );
    refused("it has data after its end", &[vec![0; 512], file("/etc/x")]);
    refused(
        "name or size twice",
        &[pax("path", "a"), said(EntryType::GNULongName, "b"), file("c")],
    );
    refused("name or size twice", &[pax("mtime", "1"), pax("mtime", "2"), file("c")]);
    let all = said(EntryType::XGlobalHeader, &record("path", "/etc/x"));
    refused("all entries the same name", &[all, file("a")]);
    refused("has a NUL byte in its name", &[pax("path", "a\0/../b"), file("a")]);
    for records in ["7 path=", "99 path=a\n", "9  path=a\n", " 9 path=a\n", "7 patha\n", "0 a=b\n"]
    {
        let records = said(EntryType::XHeader, records);
        refused("attributes that cannot be read", &[records, file("a")]);
    }
    refused("it ends before the entry", &[pax("path", "a")]);
}

#[test]
fn incomplete_or_foreign_file_is_refused() {
    let packed = gzip(&[file("a"), vec![0; 1024]].concat());
    for cut in [0, 5, packed.len() / 2, packed.len() - 1] {
        let unfit = check_gzip(&packed[..cut]).expect_err("torn");
        assert!(
            unfit.problem.contains("not a whole tar archive, packed by gzip"),
            "{cut}: {unfit}"
        );
    }
    let plain = check_gzip(b"PK\x03\x04 not gzip").expect_err("another form");
    assert!(plain.problem.contains("not a whole tar archive"), "{plain}");
}

#[test]
fn too_large_archive_is_refused_without_unpacking_it() {
    let claim = header(EntryType::Regular, "zeros", "", 1 << 40).as_bytes().to_vec();
    refused("unpacks to more than 4.0 GiB", &[claim]);
    // With real data, and with a limit that takes no time.
    let look = |parts: Vec<u8>| {
        let bytes = BufReader::new(io::Cursor::new(parts));
        ArchiveCheck {
            packed_by: None,
            bytes,
            packed: 9,
            most: 1 << 20,
            read: 0,
            entries: 0,
            disk: 0,
            links: Links::default(),
        }
        .all()
    };
    let zeros = body(&header(EntryType::Regular, "zeros", "", 1 << 20), &vec![0; 1 << 20]);
    assert!(look(zeros.clone()).expect_err("too much").problem.contains("it has 9 B, but unpacks"));
    assert!(look([vec![0; 512], zeros].concat()).is_err(), "after its end, too");
    refused(
        "an entry whose name takes 8.0 GiB",
        &[header(EntryType::GNULongName, "long", "", 8 << 30).as_bytes().to_vec()],
    );
}

/// Unpacks with a real tar and returns the links that lead out of the release's folder.
fn unpacked_and_leading_out(packed: &[u8]) -> Vec<PathBuf> {
    let root = tempfile::tempdir().expect("temp dir");
    let release = root.path().canonicalize().expect("a path").join("release");
    std::fs::create_dir(&release).expect("mkdir");
    std::fs::write(root.path().join("x"), packed).expect("write");
    let tar = std::process::Command::new("tar")
        .args(["-xzf", "../x", "--no-same-owner"])
        .current_dir(&release)
        .output();
    // tar may report errors; only the unpacked files count.
    tar.expect("tar runs");
    let mut folders = vec![release.clone()];
    let mut leading_out = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("read dir").flatten() {
            let kind = entry.file_type().expect("a kind");
            let leads = entry.path().canonicalize();
            if kind.is_symlink() && leads.is_ok_and(|to| !to.starts_with(&release)) {
                leading_out.push(entry.path());
            } else if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    leading_out
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let names = ["a", "b", "a/b", "a/b/c", "../x", "../../x", "/etc", "./a", "b/..", "a/", ""];
    let name = || prop::sample::select(names.to_vec());
    prop_oneof![
        name().prop_map(file),
        name().prop_map(folder),
        (name(), name()).prop_map(|(name, target)| link(name, target)),
        (name(), name()).prop_map(|(name, target)| hard(name, target)),
        (name(), name()).prop_map(|(name, other)| [pax("path", name), file(other)].concat()),
        (name(), name()).prop_map(|(name, other)| {
            [said(EntryType::GNULongLink, name), link(other, "a")].concat()
        }),
        Just(vec![0; 512]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn accepted_archive_stays_within_its_folder_with_a_real_tar(parts in prop::collection::vec(part(), 1..6)) {
        let packed = gzip(&[parts.concat(), vec![0; 1024]].concat());
        if check_gzip(&packed).is_ok() {
            prop_assert_eq!(unpacked_and_leading_out(&packed), Vec::<PathBuf>::new());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(
        parts in prop::collection::vec(part(), 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        sound in any::<bool>(),
    ) {
        let mut bytes = parts.concat();
        for (at, byte) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if sound {
            for block in bytes.chunks_exact_mut(512) {
                let mut header = Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let packed = gzip(&bytes);
        let _ = check_gzip(&packed);
        let _ = check_gzip(&bytes);
    }
}
