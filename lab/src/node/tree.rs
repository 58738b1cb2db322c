//! The files of a node: its users and rights, sshd's settings, and `/srv` with one release in it.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifact::directory_name;
use crate::ssh_key;
use crate::tools;

/// The user and group id of `deploy`, outside a machine's usual range.
const DEPLOY: u32 = 47_100;

/// The inputs of a node's files.
pub(super) struct Layout<'a> {
    pub(super) directory: &'a Path,
    pub(super) name: &'a str,
    pub(super) ssh: SocketAddr,
    pub(super) service: SocketAddr,
    pub(super) sudo: bool,
    pub(super) client_key: &'a Path,
    pub(super) unit: Option<&'a str>,
}

/// The units that systemd needs beside the service's own. Nothing else of the machine is started.
const TARGETS: [(&str, &str); 4] = [
    // An empty file would mask the unit.
    ("sysinit.target", "[Unit]\nDefaultDependencies=no\n"),
    ("basic.target", "[Unit]\nDefaultDependencies=no\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("default.target", "[Unit]\nWants=app.service\n"),
];

impl Layout<'_> {
    /// Writes all files, with the release in `archive`, if any, as the current one.
    pub(super) fn write(&self, archive: Option<&Path>) -> Result<()> {
        fs::create_dir_all(self.directory)?;
        self.write_accounts()?;
        self.write_sshd()?;
        self.write_service(archive)?;
        if let Some(unit) = self.unit {
            let units = self.directory.join("units");
            fs::create_dir(&units)?;
            for (name, text) in TARGETS.into_iter().chain([("app.service", unit)]) {
                put(&units.join(name), text, 0o644)?;
            }
        }
        put(&self.directory.join("init.sh"), include_str!("init.sh"), 0o755)?;
        put(&self.directory.join("audit.jsonl"), "", 0o666)
    }

    /// Writes the accounts: the machine's own, with root's home in the node's tree, and `deploy`.
    fn write_accounts(&self) -> Result<()> {
        let etc = self.directory.join("etc");
        fs::create_dir(&etc)?;
        let passwd = accounts("/etc/passwd")?;
        put(
            &etc.join("passwd"),
            &format!(
                "root:x:0:0:root:/srv/home/root:/bin/sh\n{passwd}\
                 deploy:x:{DEPLOY}:{DEPLOY}::/srv/home/deploy:/bin/sh\n"
            ),
            0o644,
        )?;
        let shadow = accounts("/etc/shadow")?;
        let no_password = "*:19000:0:99999:7:::\n";
        put(
            &etc.join("shadow"),
            &format!("root:{no_password}{shadow}deploy:{no_password}"),
            0o640,
        )?;
        let group = accounts("/etc/group")?;
        put(&etc.join("group"), &format!("root:x:0:\n{group}deploy:x:{DEPLOY}:\n"), 0o644)?;
        // Only the node resolves `itself`, to its own address.
        let hosts = format!("127.0.0.1 localhost {}\n{} itself\n", self.name, self.service.ip());
        put(&etc.join("hosts"), &hosts, 0o644)?;
        let grant = if self.sudo { "deploy ALL=(ALL) NOPASSWD: ALL\n" } else { "" };
        put(&etc.join("sudoers"), &format!("root ALL=(ALL) NOPASSWD: ALL\n{grant}"), 0o440)
    }

    fn write_sshd(&self) -> Result<()> {
        ssh_key::generate(&self.directory.join("host_key"), self.name)?;
        let authorized = self.directory.join("authorized_keys");
        fs::copy(self.client_key, &authorized)?;
        fs::set_permissions(&authorized, Permissions::from_mode(0o644))?;
        let settings = format!(
            "ListenAddress {}\n\
             HostKey /run/node/host_key\n\
             AuthorizedKeysFile /run/node/authorized_keys\n\
             PidFile none\n\
             PermitRootLogin prohibit-password\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             UsePAM no\n\
             UseDNS no\n\
             PrintMotd no\n\
             MaxStartups 100\n\
             Subsystem sftp internal-sftp\n",
            self.ssh
        );
        put(&self.directory.join("sshd_config"), &settings, 0o644)
    }

    fn write_service(&self, archive: Option<&Path>) -> Result<()> {
        let srv = self.directory.join("srv");
        for home in ["home/root", "home/deploy"] {
            fs::create_dir_all(srv.join(home))?;
        }
        let app = srv.join("app");
        fs::create_dir(&app)?;
        if let Some(archive) = archive {
            install(archive, &app)?;
        }
        put(&app.join("ctl"), include_str!("ctl.sh"), 0o755)?;
        put(&app.join("address"), &format!("{}\n", self.service), 0o644)?;
        put(&app.join("log"), "", 0o644)?;
        for owned in [srv.join("home/deploy"), app] {
            give_away(&owned)?;
        }
        Ok(())
    }
}

/// Unpacks a release below `app`, and makes it the current one.
fn install(archive: &Path, app: &Path) -> Result<()> {
    let release = directory_name(archive)?;
    let target = app.join("releases").join(&release);
    fs::create_dir_all(&target)?;
    tools::run(Command::new("tar").arg("-xzf").arg(archive).arg("--directory").arg(&target))?;
    symlink(Path::new("/srv/app/releases").join(&release), app.join("current"))?;
    Ok(())
}

/// Returns the machine's own lines of an account file, without root and without any `deploy`.
fn accounts(file: &str) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("could not read {file}"))?;
    let mut kept = String::new();
    for line in text.lines() {
        let name = line.split(':').next().unwrap_or_default();
        if !["root", "deploy", ""].contains(&name) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// Writes a file with exactly these permissions.
fn put(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    File::open(path)?.set_permissions(Permissions::from_mode(mode))?;
    Ok(())
}

/// Makes `deploy` the owner of everything from `path` down.
fn give_away(path: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    lchown(path, Some(DEPLOY), Some(DEPLOY))
        .with_context(|| format!("could not change the owner of {}", path.display()))?;
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path())?;
        }
    }
    Ok(())
}
