//! TLS of connections that are dialled here: as the client library sets it up, with the system's authorities or the one given.

use std::sync::{Arc, OnceLock};

use redis::{ClientTlsConfig, ErrorKind, RedisError, RedisResult, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What a server's certificate is held against, and the certificate shown to it.
pub(super) fn config(certificates: Option<&TlsCertificates>) -> RedisResult<Arc<ClientConfig>> {
    let builder = ClientConfig::builder().with_root_certificates(roots(certificates)?);
    let config = match certificates.and_then(|certificates| certificates.client_tls.as_ref()) {
        None => builder.with_no_client_auth(),
        Some(ClientTlsConfig { client_cert, client_key }) => {
            let chain = CertificateDer::pem_slice_iter(client_cert).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
            let key = PrivateKeyDer::from_pem_slice(client_key).map_err(unusable)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
    };
    Ok(Arc::new(config))
}

fn roots(certificates: Option<&TlsCertificates>) -> RedisResult<Arc<RootCertStore>> {
    let Some(authority) = certificates.and_then(|certificates| certificates.root_cert.as_ref()) else {
        return system_roots();
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.map_err(unusable)?).map_err(unusable)?;
    }
    Ok(Arc::new(roots))
}

/// The system's authorities, once for all servers: there are more than a hundred.
fn system_roots() -> RedisResult<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let mut found = rustls_native_certs::load_native_certs();
    if let Some(error) = found.errors.pop() {
        return Err(unusable(error));
    }
    let mut roots = RootCertStore::empty();
    for certificate in found.certs {
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}

fn unusable(error: impl std::fmt::Display) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "the TLS material cannot be used", error.to_string()))
}
