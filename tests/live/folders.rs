//! Folders of other users: what rollgate does as root where a service's user can change the path.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollgate::lock::FileLock;
use rollgate::node::{Layout, NodeScript, Packing, Pruned, Survey};
use rollgate::secret::Secret;
use rollgate::world::{Command, Host, Live, LiveSettings, Output, Stdin, World as _};
use sha2::{Digest as _, Sha256};

/// Users of every Debian, with groups of their own.
const NOBODY: u32 = 65_534;
const DAEMON: u32 = 1;

/// A host's folders, and the artifact.
struct Place {
    folder: tempfile::TempDir,
    live: Live,
}

impl Place {
    /// `app` belongs to root, and `app/releases` exists.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        let live = Live::new(LiveSettings::default()).expect("settings");
        let place = Self { folder, live };
        place.rights("", 0o755);
        std::fs::create_dir_all(place.path("app/releases")).expect("mkdir");
        std::fs::write(place.path("artifact"), "hello\n").expect("write");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn give(&self, name: &str, user: u32) {
        chown(self.path(name), Some(user), Some(user)).expect("tests run as root");
    }

    fn rights(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).expect("rights");
    }

    fn owner(&self, name: &str) -> u32 {
        std::fs::symlink_metadata(self.path(name)).expect("it is there").uid()
    }

    fn layout(&self) -> Layout {
        Layout {
            releases: self.path("app/releases").display().to_string(),
            current: self.path("app/current").display().to_string(),
            name: "app-1-5891b5b5".into(),
            sha256: rollgate::text::hex(&Sha256::digest("hello\n")),
            packing: Packing::File("hello".into()),
            node: "10.0.0.1:80".into(),
        }
    }

    async fn run(&self, script: NodeScript, stdin: Stdin) -> Output {
        let command = Command::new(script, Duration::from_secs(30), false).reading(stdin);
        self.live.run(&Host::Local, command).await.expect("it runs")
    }

    async fn survey(&self) -> Survey {
        let script =
            NodeScript::Survey { port: 1, layout: Some(self.layout()), programs: Vec::new() };
        let output = self.run(script, Stdin::Empty).await;
        assert!(output.success(), "{}", output.stderr_text());
        Survey::parse(&output.stdout_text(), "10.0.0.1:80")
    }

    /// Uploads, unpacks, activates and prunes; returns the message of the first script that fails.
    async fn release(&self) -> Result<Pruned, String> {
        let layout = self.layout();
        let artifact = Stdin::File(self.path("artifact"));
        let mut pruned = Pruned::default();
        for (script, stdin) in [
            (NodeScript::Upload { layout: layout.clone() }, artifact),
            (NodeScript::Unpack { layout: layout.clone() }, Stdin::Empty),
            (NodeScript::Activate { layout: layout.clone() }, Stdin::Empty),
            (NodeScript::Prune { layout, keep: Some(1), spare: Vec::new() }, Stdin::Empty),
        ] {
            let output = self.run(script, stdin).await;
            if !output.success() {
                return Err(output.stderr_text());
            }
            pruned = Pruned::parse(&output.stdout_text());
        }
        Ok(pruned)
    }
}

#[tokio::test]
async fn work_in_a_users_folder_is_done_as_that_user() {
    let place = Place::new();
    place.give("app", NOBODY);
    place.give("app/releases", NOBODY);
    let survey = place.survey().await;
    assert!(survey.refused.is_none() && survey.writable, "{survey:?}");
    assert_eq!(place.release().await, Ok(Pruned::default()));
    for name in ["", "/hello", "/../.staging", "/../.rollgate", "/../.rollgate/app-1-5891b5b5"] {
        let name = format!("app/releases/app-1-5891b5b5{name}");
        assert_eq!(place.owner(&name), NOBODY, "{name}");
    }
    assert_eq!(place.owner("app/current"), NOBODY);
    assert_eq!(std::fs::read(place.path("app/current/hello")).expect("read"), b"hello\n");
    assert!(place.survey().await.staged);
    // The user owns only the folder of releases: root switches the link.
    let place = Place::new();
    place.give("app/releases", NOBODY);
    assert!(place.survey().await.writable);
    assert_eq!(place.release().await, Ok(Pruned::default()));
    assert_eq!(
        (place.owner("app/current"), place.owner("app/releases/app-1-5891b5b5")),
        (0, NOBODY)
    );
}

#[tokio::test]
async fn root_does_not_follow_symlinks_of_a_user() {
    for name in [".staging", ".rollgate", ".rollgate/app-1-5891b5b5"] {
        let place = Place::new();
        std::fs::create_dir(place.path("victim")).expect("mkdir");
        std::fs::write(place.path("victim/file"), "root's own\n").expect("write");
        let target = if name.contains("app-1") { "victim/file" } else { "victim" };
        std::fs::create_dir(place.path("app/releases/.rollgate")).expect("mkdir");
        if name == ".rollgate" {
            std::fs::remove_dir(place.path("app/releases/.rollgate")).expect("removed");
        } else {
            place.give("app/releases/.rollgate", NOBODY);
        }
        symlink(place.path(target), place.path("app/releases").join(name)).expect("symlink");
        place.give("app/releases", NOBODY);
        let refused = place.release().await.expect_err("refused");
        assert!(refused.contains("is a symlink: remove it"), "{name}: {refused}");
        let text = std::fs::read_to_string(place.path("victim/file")).expect("read");
        assert_eq!(text, "root's own\n", "{name}");
        assert_eq!(std::fs::read_dir(place.path("victim")).expect("read dir").count(), 1, "{name}");
    }
}

/// Neither the link nor its target is trusted without a check.
#[tokio::test]
async fn folder_behind_a_symlink_is_judged_by_its_real_path() {
    let place = Place::new();
    std::fs::rename(place.path("app"), place.path("data")).expect("renamed");
    symlink("data", place.path("app")).expect("symlink");
    assert_eq!(place.release().await, Ok(Pruned::default()));
    assert_eq!(place.owner("data/releases/app-1-5891b5b5"), 0);
    // A link that a user may change can lead anywhere.
    let place = Place::new();
    std::fs::rename(place.path("app"), place.path("data")).expect("renamed");
    std::fs::create_dir(place.path("home")).expect("mkdir");
    symlink(place.path("data"), place.path("home/app")).expect("symlink");
    place.give("home", NOBODY);
    symlink("home/app", place.path("app")).expect("symlink");
    let survey = place.survey().await;
    assert!(!survey.writable, "as nobody, in a folder of root: {survey:?}");
    assert!(place.release().await.is_err());
    assert!(!place.path("data/releases/.staging").exists());
}

#[tokio::test]
async fn folders_that_others_can_change_are_refused_before_anything_is_done() {
    let refused = async |place: &Place, expected: &str| {
        let told = place.survey().await.refused.unwrap_or_default();
        let expected = expected.replace("TMP", &place.folder.path().display().to_string());
        assert_eq!(told, expected);
        let said = place.release().await.expect_err("refused");
        assert_eq!(said.trim_end(), expected);
        assert!(!place.path("app/releases/.staging").exists());
    };
    let place = Place::new();
    place.rights("app/releases", 0o777);
    refused(
        &place,
        "TMP/app/releases belongs to root and every user can write to it: run `chmod o-w TMP/app/releases`, or give \
         it to the service's user",
    )
    .await;
    // Also where only the owner may delete: other users could create the path before rollgate does.
    place.rights("app/releases", 0o1777);
    assert!(place.survey().await.refused.is_some());
    let place = Place::new();
    chown(place.path("app"), None, Some(DAEMON)).expect("as root");
    place.rights("app", 0o775);
    refused(
        &place,
        "TMP/app belongs to root, and its group daemon or a user in its ACL can write to it: run `chmod g-w TMP/app`, \
         or give it to the service's user",
    )
    .await;
    let place = Place::new();
    place.give("app", DAEMON);
    place.give("app/releases", NOBODY);
    refused(
        &place,
        "TMP/app belongs to daemon and TMP/app/releases to nobody: give both to the service's user",
    )
    .await;
    // An earlier version, or an administrator by hand, has created these as root.
    let place = Place::new();
    std::fs::create_dir(place.path("app/releases/.rollgate")).expect("mkdir");
    place.give("app/releases", NOBODY);
    let told = place.survey().await.refused.unwrap_or_default();
    assert!(
        told.ends_with(
            "/.rollgate belongs to root, not to nobody: give it to nobody, or remove it"
        ),
        "{told}"
    );
}

/// Any account on the host can create a missing folder below `/tmp`.
#[tokio::test]
async fn missing_folder_below_a_sticky_one_is_created_only_by_root() {
    let place = Place::new();
    std::fs::remove_dir_all(place.path("app")).expect("removed");
    std::fs::create_dir(place.path("shared")).expect("mkdir");
    place.rights("shared", 0o1777);
    let layout = Layout {
        releases: place.path("shared/app/releases").display().to_string(),
        ..place.layout()
    };
    let artifact = || Stdin::File(place.path("artifact"));
    let upload = NodeScript::Upload { layout: layout.clone() };
    let output = place.run(upload.clone(), artifact()).await;
    assert!(output.success(), "{}", output.stderr_text());
    assert_eq!(place.owner("shared/app"), 0);
    std::fs::remove_dir_all(place.path("shared/app")).expect("removed");
    std::fs::create_dir(place.path("victim")).expect("mkdir");
    symlink(place.path("victim"), place.path("shared/app")).expect("symlink");
    std::os::unix::fs::lchown(place.path("shared/app"), Some(NOBODY), Some(NOBODY))
        .expect("lchown");
    let output = place.run(upload, artifact()).await;
    assert!(!output.success());
    assert_eq!(std::fs::read_dir(place.path("victim")).expect("read dir").count(), 0);
}

/// A release with a mount inside is moved away as a whole, and deleted once the mount is gone.
#[tokio::test]
async fn undeletable_release_is_reported_and_deleted_later() {
    let place = Place::new();
    place.release().await.expect("released");
    let old = place.path("app/releases/app-1-5891b5b5");
    std::fs::create_dir(old.join("mount")).expect("mkdir");
    let mount = |words: &[&str]| {
        let status = std::process::Command::new(words[0]).args(&words[1..]).status();
        assert!(status.expect("starts").success(), "{words:?}");
    };
    mount(&["mount", "-t", "tmpfs", "tmpfs", &old.join("mount").display().to_string()]);
    std::fs::write(old.join("mount/data"), "of others\n").expect("write");
    let next = |name: &str| Layout { name: name.into(), ..place.layout() };
    let release = async |name: &str| {
        for script in [
            NodeScript::Upload { layout: next(name) },
            NodeScript::Unpack { layout: next(name) },
            NodeScript::Activate { layout: next(name) },
        ] {
            let output = place.run(script, Stdin::File(place.path("artifact"))).await;
            assert!(output.success(), "{}", output.stderr_text());
        }
        let prune = NodeScript::Prune { layout: next(name), keep: Some(1), spare: Vec::new() };
        Pruned::parse(&place.run(prune, Stdin::Empty).await.stdout_text())
    };
    assert_eq!(release("app-2-00000002").await, Pruned::default(), "it ran before");
    let pruned = release("app-3-00000003").await;
    assert_eq!(pruned.deleted, ["app-1-5891b5b5"]);
    let [left] = &pruned.left[..] else { panic!("{pruned:?}") };
    assert!(left.contains("/.staging/trash/app-1-5891b5b5."), "{left}");
    assert!(!old.exists() && !place.survey().await.staged, "nothing takes it for a release");
    let trash = std::fs::read_dir(place.path("app/releases/.staging/trash")).expect("read dir");
    let gone = trash.flatten().next().expect("it is there").path().join("mount");
    assert_eq!(std::fs::read(gone.join("data")).expect("read"), b"of others\n");
    mount(&["umount", &gone.display().to_string()]);
    let pruned = release("app-3-00000003").await;
    assert_eq!(pruned, Pruned::default());
    assert!(!gone.exists(), "it is gone at last");
}

#[tokio::test]
async fn gateway_file_is_replaced_as_its_owner() {
    let place = Place::new();
    let file = place.path("app/traefik.json");
    let replace = async |before: &str, after: &str| {
        let sum = |text: &str| rollgate::text::hex(&Sha256::digest(text));
        let (before, path) = (sum(before), file.display().to_string());
        let script = NodeScript::Replace { path, before, after: sum(after) };
        place.run(script, Stdin::Text(Secret::new(after))).await
    };
    let victim = place.path("victim");
    std::fs::write(&victim, "root's own\n").expect("write");
    std::fs::write(&file, "one\n").expect("write");
    place.give("app", NOBODY);
    place.give("app/traefik.json", NOBODY);
    place.rights("app/traefik.json", 0o640);
    symlink(&victim, place.path("app/.traefik.json.rollgate")).expect("symlink");
    let output = replace("one\n", "two\n").await;
    assert!(output.success(), "{}", output.stderr_text());
    assert_eq!(std::fs::read(&file).expect("read"), b"two\n");
    assert_eq!(std::fs::read(&victim).expect("read"), b"root's own\n");
    assert_eq!(place.owner("app/traefik.json"), NOBODY);
    // For root's file in a user's folder, a new file would have to be created.
    place.give("app/traefik.json", 0);
    place.rights("app/traefik.json", 0o644);
    let output = replace("two\n", "three\n").await;
    assert!(
        output.stderr_text().contains("nobody cannot give another file the owner"),
        "{output:?}"
    );
    assert_eq!(std::fs::read(&file).expect("read"), b"two\n");
    assert!(!Path::new(&place.path("app/.traefik.json.rollgate")).exists());
}

#[tokio::test]
async fn lock_of_another_user_on_the_releases_folder_blocks_nothing() {
    let place = Place::new();
    let releases = std::fs::File::open(place.path("app/releases")).expect("any user can open it");
    releases.lock().expect("and lock it");
    assert_eq!(place.release().await, Ok(Pruned::default()));
    let staging = std::fs::metadata(place.path("app/releases/.staging")).expect("it is there");
    assert_eq!(staging.permissions().mode() & 0o777, 0o700, "what is locked is private");
}

/// A service is stopped at that moment.
#[tokio::test]
async fn activation_meets_its_deadline_while_another_operation_hangs() {
    let place = Place::new();
    place.release().await.expect("released");
    std::fs::remove_file(place.path("app/current")).expect("removed");
    let staging = std::fs::File::open(place.path("app/releases/.staging")).expect("it is there");
    staging.lock().expect("free");
    // The engine's limit for it is 30 s.
    let output = place.run(NodeScript::Activate { layout: place.layout() }, Stdin::Empty).await;
    assert!(output.success(), "{}", output.stderr_text());
    assert!(place.path("app/current/hello").exists());
}

/// However its path is written, files are created in this folder.
#[tokio::test]
async fn sticky_folder_is_refused_however_its_path_is_written() {
    let place = Place::new();
    std::fs::create_dir(place.path("shared")).expect("mkdir");
    std::fs::create_dir(place.path("shared/own")).expect("mkdir");
    symlink(place.path("shared/."), place.path("link")).expect("symlink");
    place.rights("shared", 0o1777);
    let path = |name: &str| place.path(name).display().to_string();
    for end in ["shared", "shared/.", "shared/./.", "shared//", "shared/own/..", "link", "link/."] {
        let releases = Layout { releases: path(end), ..place.layout() };
        let current = Layout { current: path(end) + "/current", ..place.layout() };
        for layout in [releases, current] {
            let upload = NodeScript::Upload { layout };
            let output = place.run(upload, Stdin::File(place.path("artifact"))).await;
            let said = output.stderr_text();
            assert!(said.contains("every user can write to it"), "{end}: {said}");
        }
        assert!(!place.path("shared/.staging").exists(), "{end}");
    }
    let away = Layout { releases: path("app/none/../../shared"), ..place.layout() };
    let upload = NodeScript::Upload { layout: away };
    let output = place.run(upload, Stdin::File(place.path("artifact"))).await;
    assert!(output.stderr_text().contains("write it without `..`"), "{output:?}");
    // A folder below it is accepted.
    let below = Layout { releases: path("shared/./own/."), ..place.layout() };
    let upload = NodeScript::Upload { layout: below };
    let output = place.run(upload, Stdin::File(place.path("artifact"))).await;
    assert!(output.success(), "{}", output.stderr_text());
}

/// With an ACL, the mode shows its mask instead of the group's rights.
#[tokio::test]
async fn folder_writable_for_a_user_by_acl_is_refused() {
    /// Version 2, then entries of tag, rights and id: the owner, nobody (rwx), the group, the mask, others.
    fn acl(mask: u16) -> Vec<u8> {
        let entries = [(1, 7, u32::MAX), (2, 7, NOBODY), (4, 5, u32::MAX), (16, mask, u32::MAX)];
        let entries = entries.into_iter().chain([(32_u16, 5_u16, u32::MAX)]);
        let bytes = |(tag, rights, id): (u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
        };
        2_u32.to_le_bytes().into_iter().chain(entries.flat_map(bytes)).collect()
    }
    let place = Place::new();
    let set = |mask| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(place.path("app"), "system.posix_acl_access", &acl(mask), flags)
            .expect("a file system with ACLs");
    };
    set(7);
    let said = place.release().await.expect_err("refused");
    assert!(said.contains("its group root or a user in its ACL can write to it"), "{said}");
    assert!(!place.path("app/releases/.staging").exists());
    // The mask removes the right, as `chmod g-w` does.
    set(5);
    assert_eq!(place.release().await, Ok(Pruned::default()));
}

/// In `/tmp` any user can create a symlink before rollgate creates the folder.
#[test]
fn symlink_of_another_user_in_place_of_the_state_folder_is_refused() {
    let place = Place::new();
    for name in ["victim", "shared"] {
        std::fs::create_dir(place.path(name)).expect("mkdir");
    }
    place.rights("victim", 0o755);
    place.rights("shared", 0o1777);
    symlink(place.path("victim"), place.path("shared/app")).expect("symlink");
    std::os::unix::fs::lchown(place.path("shared/app"), Some(NOBODY), None).expect("as root");
    for state in ["shared/app", "shared/app/below"] {
        let error = FileLock::take(&place.path(state)).expect_err("refused");
        assert!(
            format!("{error:#}").contains("is a symlink and belongs to another user"),
            "{error:#}"
        );
        let victim = std::fs::metadata(place.path("victim")).expect("it is there");
        assert_eq!(victim.permissions().mode() & 0o777, 0o755, "{state}");
        assert_eq!(std::fs::read_dir(place.path("victim")).expect("read dir").count(), 0);
    }
    // The operator's own symlink may lead anywhere.
    std::os::unix::fs::lchown(place.path("shared/app"), Some(0), None).expect("as root");
    assert!(FileLock::take(&place.path("shared/app")).expect("followed").is_ok());
}
