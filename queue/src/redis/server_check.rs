//! What a Redis server says about itself that a queue cannot live with, or should be warned of.

use crate::{Connection, QueueError};

/// The oldest server that has every command we send.
const OLDEST: (u32, u32) = (6, 2);

/// Refuses a server that is too old, and warns of one that may throw jobs away when its memory is full.
///
/// # Errors
/// `Config` for a server before 6.2. A server that may not be asked (ACL) is taken as it is.
pub(crate) async fn check_server(connection: &Connection) -> Result<(), QueueError> {
    let info: String = match connection.query(&redis::cmd("INFO")).await {
        Ok(info) => info,
        Err(QueueError::Denied { .. } | QueueError::Data(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(version) = field(&info, "redis_version")
        && is_too_old(version)
    {
        return Err(QueueError::Config(format!(
            "Redis at {} is version {version}; 6.2 or later is needed",
            connection.endpoint()
        )));
    }
    if let Some(policy) = evicts(&info) {
        tracing::warn!(
            endpoint = connection.endpoint(),
            policy,
            "Redis throws keys away when its memory is full, jobs among them; set maxmemory-policy to noeviction"
        );
    }
    Ok(())
}

/// The policy by which a server throws keys away when its memory is full, jobs among them; none if it does not, or does
/// not say.
pub async fn eviction_policy(connection: &Connection) -> Result<Option<String>, QueueError> {
    match connection.query::<String>(redis::cmd("INFO").arg("memory")).await {
        Ok(info) => Ok(evicts(&info).map(str::to_owned)),
        Err(QueueError::Denied { .. } | QueueError::Data(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST,
        // A fork with a version of its own kind.
        _ => false,
    }
}

/// The policy, if there is a limit at which keys would go.
fn evicts(info: &str) -> Option<&str> {
    let limited = field(info, "maxmemory").is_some_and(|limit| limit != "0");
    field(info, "maxmemory_policy").filter(|policy| limited && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_too_old("6.0.16") && is_too_old("5.0.14"));
        assert!(!is_too_old("6.2.0") && !is_too_old("7.0.15") && !is_too_old("10.0.0") && !is_too_old("unstable"));
    }

    #[test]
    fn eviction_matters_only_under_a_limit() {
        let info = |limit: &str, policy: &str| {
            format!("redis_version:7.0.15\r\nmaxmemory:{limit}\r\nmaxmemory_human:x\r\nmaxmemory_policy:{policy}\r\n")
        };
        assert_eq!(evicts(&info("100", "allkeys-lru")), Some("allkeys-lru"));
        assert_eq!(evicts(&info("0", "allkeys-lru")), None);
        assert_eq!(evicts(&info("100", "noeviction")), None);
    }
}
