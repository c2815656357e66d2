//! What a client has of an authority that the tests made.

use jobqueue_queue::TlsOptions;
use jobqueue_testkit::Authority;

/// The authority, and a certificate of the client's own.
pub(crate) fn ours(authority: &Authority) -> TlsOptions {
    TlsOptions {
        ca: Some(authority.pem("ca.pem")),
        client_cert: Some(authority.pem("client.pem")),
        client_key: Some(authority.pem("client.key")),
    }
}
