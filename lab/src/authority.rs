//! Certificates for the parts that speak TLS, made with `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools;

/// How long a lab's certificates are valid.
const DAYS: &str = "2";

/// The key of every certificate: small, and quick to make.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A certificate authority.
#[derive(Clone, Debug)]
pub struct Authority {
    directory: PathBuf,
}

/// A certificate with its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority that keeps its files in `directory`, which must not exist.
    ///
    /// # Errors
    ///
    /// When `openssl` is missing, or the files cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir(directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        let authority = Self { directory: directory.to_owned() };
        let own = authority.identity("ca");
        let name = directory.file_name().unwrap_or_default().display();
        let mut request = openssl("req")?;
        request.arg("-x509").args(KEY).args(["-days", DAYS, "-subj", &format!("/CN={name}")]);
        request.arg("-keyout").arg(own.key).arg("-out").arg(own.certificate);
        tools::run(&mut request)?;
        Ok(authority)
    }

    /// Returns the certificate that verifies all others.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.identity("ca").certificate
    }

    /// Makes a certificate for a server or a client, valid for the `names` in the syntax of `openssl`:
    /// `DNS:localhost,IP:127.0.0.1`.
    ///
    /// # Errors
    ///
    /// When `openssl` is missing, or the files cannot be written.
    pub fn issue(&self, name: &str, names: &str) -> Result<Identity> {
        let (own, identity) = (self.identity("ca"), self.identity(name));
        let at = |extension: &str| self.directory.join(format!("{name}.{extension}"));
        let (request, extensions) = (at("csr"), at("ext"));
        let mut ask = openssl("req")?;
        ask.args(KEY).args(["-subj", &format!("/CN={name}")]);
        tools::run(ask.arg("-keyout").arg(&identity.key).arg("-out").arg(&request))?;
        let usage = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth";
        fs::write(&extensions, format!("subjectAltName={names}\n{usage}\n"))?;
        let mut sign = openssl("x509")?;
        sign.args(["-req", "-days", DAYS, "-CAcreateserial", "-in"]).arg(request);
        sign.arg("-CA").arg(own.certificate).arg("-CAkey").arg(own.key);
        sign.arg("-extfile").arg(extensions).arg("-out").arg(&identity.certificate);
        tools::run(&mut sign)?;
        Ok(identity)
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        }
    }
}

fn openssl(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(tools::find("openssl")?);
    command.arg(subcommand);
    Ok(command)
}
