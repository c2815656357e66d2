//! User and password, of which the password may be in a file that changes.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use redis::auth::{BasicAuth, StreamingCredentialsProvider};
use redis::{ErrorKind, RedisError, RedisResult};

use crate::redis::url::{ConnectionUrl, Login};

/// How Redis calls the user that is meant by a password alone.
const DEFAULT_USER: &str = "default";

/// Reads user and password as they are now.
pub(super) fn login(url: &ConnectionUrl) -> RedisResult<Login> {
    let ConnectionUrl { login, password_file, .. } = url;
    let Some(file) = password_file else { return Ok(login.clone()) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        std::io::Error::new(error.kind(), format!("the password file {} cannot be read: {error}", file.display()))
    })?;
    // A trailing line break is what editors and `echo` leave.
    Ok(Login { password: Some(text.trim().to_owned()), ..login.clone() })
}

/// The password file of a URL, for a client that opens connections by itself: each is made with the password of its moment.
/// Connections that stand are left alone.
pub(super) struct PasswordFile(ConnectionUrl);

impl PasswordFile {
    /// That of a URL; `None` if its password is not in a file.
    pub(super) fn of(url: &ConnectionUrl) -> Option<Self> {
        url.password_file.is_some().then(|| Self(url.clone()))
    }

    fn credentials(&self) -> RedisResult<BasicAuth> {
        let Login { username, password } = login(&self.0)?;
        let password = password.ok_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "no password")))?;
        Ok(BasicAuth::new(username.unwrap_or_else(|| DEFAULT_USER.to_owned()), password))
    }
}

impl StreamingCredentialsProvider for PasswordFile {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let credentials = self.credentials();
        // A stream that ended would be a warning.
        Box::pin(stream::once(std::future::ready(credentials)).chain(stream::pending()))
    }
}
