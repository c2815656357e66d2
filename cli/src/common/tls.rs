//! Certificates for `rediss://`, from files: the Secrets that a manifest names for them exist in a cluster only.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use jobqueue_crds::{SecretKeyRef, SecretRef, TlsSpec};
use jobqueue_queue::TlsOptions;

use crate::common::exit::{Exit, Failure};

/// Files with certificates for Redis; the names are those of the worker's own flags and variables.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsFiles {
    /// Certificate authority for `rediss://` (PEM); omitted: the public ones
    #[arg(id = "redis_ca", long = "redis-ca", global = true, env = "JOBQUEUE_REDIS_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// Client certificate for `rediss://` (PEM), together with --redis-key
    #[arg(id = "redis_cert", long = "redis-cert", global = true, env = "JOBQUEUE_REDIS_CERT", value_name = "PATH")]
    certificate: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(id = "redis_key", long = "redis-key", global = true, env = "JOBQUEUE_REDIS_KEY", value_name = "PATH")]
    key: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads them.
    pub(crate) fn read(&self) -> anyhow::Result<TlsOptions> {
        let read = |path: &Option<PathBuf>| {
            let bytes = path.as_ref().map(|path| {
                std::fs::read(path).with_context(|| format!("cannot read the certificate or key {}", path.display()))
            });
            bytes.transpose().map_err(|error| Failure::new(Exit::Usage, format!("{error:#}")))
        };
        Ok(TlsOptions { ca: read(&self.ca)?, client_cert: read(&self.certificate)?, client_key: read(&self.key)? })
    }

    /// As a worker process takes them. A variable without a file is to be removed from the environment of the worker.
    #[cfg(unix)]
    pub(crate) fn environment(&self) -> [(&'static str, Option<&std::path::Path>); 3] {
        [
            ("JOBQUEUE_REDIS_CA", self.ca.as_deref()),
            ("JOBQUEUE_REDIS_CERT", self.certificate.as_deref()),
            ("JOBQUEUE_REDIS_KEY", self.key.as_deref()),
        ]
    }

    /// An error if the manifest, whose URL is used, names Secrets for which no file was given.
    pub(crate) fn replace(&self, tls: Option<&TlsSpec>) -> anyhow::Result<()> {
        let Some(TlsSpec { ca_secret_key_ref: authority, client_certificate_secret_ref: client }) = tls else {
            return Ok(());
        };
        if let (Some(SecretKeyRef { name, key }), None) = (authority, &self.ca) {
            let message = format!(
                "the manifest takes the certificate authority of Redis from key {key} of Secret {name}, which is not read \
                 here"
            );
            let hint = "pass the file with --redis-ca PATH, or set JOBQUEUE_REDIS_CA";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        if let (Some(SecretRef { name }), None) = (client, self.certificate.as_ref().and(self.key.as_ref())) {
            let message = format!(
                "the manifest takes the client certificate for Redis from Secret {name} (tls.crt, tls.key), which is not \
                 read here"
            );
            let hint = "pass the files with --redis-cert PATH and --redis-key PATH, or set JOBQUEUE_REDIS_CERT and \
                        JOBQUEUE_REDIS_KEY";
            return Err(Failure::new(Exit::Usage, message).hint(hint).into());
        }
        Ok(())
    }
}

/// An error if the manifest, whose URL is used, names Secrets for the database: their files stand in a URL of one's own.
pub(crate) fn replace_for_database(tls: Option<&TlsSpec>) -> anyhow::Result<()> {
    let names = tls.into_iter().flat_map(|TlsSpec { ca_secret_key_ref, client_certificate_secret_ref }| {
        let authority = ca_secret_key_ref.as_ref().map(|secret| &secret.name);
        authority.into_iter().chain(client_certificate_secret_ref.as_ref().map(|secret| &secret.name))
    });
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the manifest takes the certificates for the database from Secret {}, which is not read here",
        names.join(" and Secret ")
    );
    let hint = "pass --database URL with the files in it: ?sslrootcert=PATH&sslcert=PATH&sslkey=PATH (PostgreSQL), \
                ?ssl-ca=PATH&ssl-cert=PATH&ssl-key=PATH (MariaDB, MySQL)";
    Err(Failure::new(Exit::Usage, message).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> TlsSpec {
        TlsSpec {
            ca_secret_key_ref: Some(SecretKeyRef { name: "authority".into(), key: "ca.crt".into() }),
            client_certificate_secret_ref: Some(SecretRef { name: "client".into() }),
        }
    }

    #[test]
    fn each_secret_needs_its_files() {
        let mut files = TlsFiles::default();
        files.replace(None).expect("nothing is named");
        let said = |files: &TlsFiles| files.replace(Some(&tls())).expect_err("a file is missing").to_string();
        assert!(said(&files).contains("key ca.crt of Secret authority"), "{}", said(&files));
        files.ca = Some("ca.pem".into());
        files.certificate = Some("client.pem".into());
        assert!(said(&files).contains("Secret client"), "{}", said(&files));
        files.key = Some("client.key".into());
        files.replace(Some(&tls())).expect("all are there");
    }

    #[test]
    fn secrets_of_the_database_are_named() {
        replace_for_database(None).expect("nothing is named");
        let error = replace_for_database(Some(&tls())).expect_err("they are not read");
        assert!(error.to_string().contains("Secret authority and Secret client"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let files = TlsFiles { ca: Some("/nowhere/ca.pem".into()), ..TlsFiles::default() };
        let error = files.read().expect_err("it is not there").to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
