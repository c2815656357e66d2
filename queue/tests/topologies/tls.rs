//! TLS with an authority of one's own, and mutual TLS.

use std::path::Path;
use std::process::Command;

use jobqueue_queue::{Connection, QueueError, Timeouts, TlsOptions};
use jobqueue_testkit::{Redis, free_port};
use tempfile::TempDir;

use crate::{run, with_tls};

/// An authority, a server certificate for 127.0.0.1 and a client certificate, made by `openssl`.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(TempDir::new().unwrap());
        let ca = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        authority
            .openssl("req", &[&ca[..], &["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"]].concat());
        authority.sign("server", "subjectAltName=IP:127.0.0.1");
        authority.sign("client", "extendedKeyUsage=clientAuth");
        authority
    }

    fn sign(&self, name: &str, extension: &str) {
        std::fs::write(self.0.path().join("extensions"), extension).unwrap();
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        self.openssl(
            "req",
            &[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        let signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions"];
        self.openssl("x509", &[&["-req", "-in", &request][..], &signer, &["-out", &certificate]].concat());
    }

    fn openssl(&self, command: &str, arguments: &[&str]) {
        let output = Command::new("openssl").arg(command).args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }

    fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(Path::new(&self.path(file))).unwrap()
    }

    /// A server and its TLS port.
    fn server(&self, clients: &str) -> (Redis, u16) {
        let port = free_port();
        let server = Redis::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &self.path("server.pem"),
            "--tls-key-file",
            &self.path("server.key"),
            "--tls-ca-cert-file",
            &self.path("ca.pem"),
            "--tls-auth-clients",
            clients,
        ]);
        (server, port)
    }
}

#[tokio::test]
async fn our_own_authority_is_trusted_and_a_stranger_is_denied() {
    let authority = Authority::new();
    let (_server, port) = authority.server("no");
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = TlsOptions { ca: Some(authority.pem("ca.pem")), ..TlsOptions::default() };
    run(&with_tls(&url, &trusting), &["PING"]).await.unwrap();
    let error = run(&with_tls(&url, &TlsOptions::default()), &["PING"]).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn mutual_tls_wants_our_certificate() {
    let authority = Authority::new();
    let (_server, port) = authority.server("yes");
    let url = format!("rediss://127.0.0.1:{port}");
    let ours = TlsOptions {
        ca: Some(authority.pem("ca.pem")),
        client_cert: Some(authority.pem("client.pem")),
        client_key: Some(authority.pem("client.key")),
    };
    run(&with_tls(&url, &ours), &["PING"]).await.unwrap();
    let nobody = TlsOptions { ca: Some(authority.pem("ca.pem")), ..TlsOptions::default() };
    let error = run(&with_tls(&url, &nobody), &["PING"]).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied { .. }), "{error:?}");
}

#[test]
fn mistakes_in_the_settings_are_told_before_the_first_connection() {
    let authority = Authority::new();
    let refused = |url: &str, tls: TlsOptions| {
        Connection::new(&url.parse().unwrap(), &tls, Timeouts::default()).unwrap_err().to_string()
    };
    let half = TlsOptions { client_cert: Some(authority.pem("client.pem")), ..TlsOptions::default() };
    assert!(refused("rediss://h", half).contains("together"));
    let ca = TlsOptions { ca: Some(authority.pem("ca.pem")), ..TlsOptions::default() };
    assert!(refused("redis://h", ca).contains("not a TLS URL"));
    let swapped = TlsOptions {
        client_cert: Some(authority.pem("client.pem")),
        client_key: Some(authority.pem("client.pem")),
        ..TlsOptions::default()
    };
    let message = refused("rediss://h", swapped);
    assert!(message.contains("private key"), "{message}");
}
