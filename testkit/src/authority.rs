//! Certificates of an authority of one's own, made by `openssl`.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{Redis, free_port};

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// An authority (`ca.pem`), a server certificate for 127.0.0.1 (`server.pem`, `server.key`) and a client certificate
/// (`client.pem`, `client.key`), valid for two days.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// Makes all of them.
    pub fn new() -> Self {
        let authority = Self(TempDir::new().expect("a temporary directory"));
        let own = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        authority.openssl("req", &[&NEW_KEY[..], &own].concat());
        authority.sign("server", "subjectAltName=IP:127.0.0.1");
        authority.sign("client", "extendedKeyUsage=clientAuth");
        authority
    }

    fn sign(&self, name: &str, extension: &str) {
        std::fs::write(self.path("extensions"), extension).expect("the directory is ours");
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        self.openssl("req", &[&NEW_KEY[..], &["-subj", &subject, "-keyout", &key, "-out", &request]].concat());
        let signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions"];
        self.openssl("x509", &[&["-req", "-in", &request][..], &signer, &["-out", &certificate]].concat());
    }

    fn openssl(&self, command: &str, arguments: &[&str]) {
        let output = Command::new("openssl").arg(command).args(arguments).current_dir(self.0.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where `file` is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// What `file` holds.
    pub fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).expect("a file of this authority")
    }

    /// A Redis with the server certificate, and its TLS port. `clients`: whether it wants a client certificate.
    pub fn redis(&self, clients: bool) -> (Redis, u16) {
        let port = free_port();
        let path = |file: &str| self.path(file).display().to_string();
        let server = Redis::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("server.pem"),
            "--tls-key-file",
            &path("server.key"),
            "--tls-ca-cert-file",
            &path("ca.pem"),
            "--tls-auth-clients",
            if clients { "yes" } else { "no" },
        ]);
        (server, port)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
