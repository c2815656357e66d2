//! Certificates of an authority of one's own.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tempfile::TempDir;

use crate::{Redis, free_port};

/// An authority (`ca.pem`), a server certificate for 127.0.0.1 and `::1` (`server.pem`, `server.key`) and a client
/// certificate (`client.pem`, `client.key`).
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// Makes all of them.
    pub fn new() -> Self {
        let authority = Self(TempDir::new().expect("a temporary directory"));
        let mut own = named("authority");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(own, new_key()).expect("a certificate of the authority");
        authority.write("ca.pem", &issuer.pem());
        let mut server = named("server");
        server.subject_alt_names =
            vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into()), SanType::IpAddress(Ipv6Addr::LOCALHOST.into())];
        authority.sign("server", &server, &issuer);
        let mut client = named("client");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        authority.sign("client", &client, &issuer);
        authority
    }

    fn sign(&self, name: &str, certificate: &CertificateParams, issuer: &CertifiedIssuer<'_, KeyPair>) {
        let key = new_key();
        let signed = certificate.signed_by(&key, issuer).expect("a certificate that the authority signs");
        self.write(&format!("{name}.pem"), &signed.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, file: &str, pem: &str) {
        fs::write(self.path(file), pem).expect("the directory is ours");
    }

    /// Where `file` is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// What `file` holds.
    pub fn pem(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("a file of this authority")
    }

    /// A Redis with the server certificate and `settings`, and its TLS port. `clients`: whether it wants a client
    /// certificate.
    pub fn redis(&self, clients: bool, settings: &[&str]) -> (Redis, u16) {
        let port = free_port();
        let path = |file: &str| self.path(file).display().to_string();
        let tls = [
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
        ];
        let server = Redis::start(&[&tls, settings].concat());
        (server, port)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut certificate = CertificateParams::default();
    certificate.distinguished_name.push(DnType::CommonName, name);
    certificate
}

/// Of the curve P-256.
fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
