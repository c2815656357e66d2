//! TLS with an authority of one's own, and mutual TLS.

use jobqueue_queue::{Connection, QueueError, Timeouts, TlsOptions};
use jobqueue_testkit::Authority;

use crate::{certificates, run, with_tls};

#[tokio::test]
async fn our_own_authority_is_trusted_and_a_stranger_is_denied() {
    let authority = Authority::new();
    let (_server, port) = authority.redis(false, &[]);
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
    let (_server, port) = authority.redis(true, &[]);
    let url = format!("rediss://127.0.0.1:{port}");
    let ours = certificates::ours(&authority);
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
