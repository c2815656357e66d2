//! What an error of Redis or the network means to a caller: try later, refused, unexpected data, wrong settings.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::QueueError;
use crate::redis::foreign_text::told;
use crate::redis::guard::dialer::excess;

/// Server error codes that say "you may not", as opposed to "not now".
const DENIED: [&str; 5] = ["NOAUTH", "WRONGPASS", "NOPERM", "ACL failure", "executing the script can't"];

/// Of these, what is said to a user who is known and lacks a right.
const RIGHTS: [&str; 4] = ["NOPERM", "no permission", "ACL failure", "executing the script can't"];

/// Server error codes of a data set that is not what the protocol expects.
const DATA: [&str; 4] = ["WRONGTYPE", "CROSSSLOT", "BUSYGROUP", "NOGROUP"];

/// What a script is told about a key whose slot is on its way to another node.
const SLOT_AWAY: &str = "access a non local key";

/// What a script is told where the cluster has lost nodes.
const CLUSTER_DOWN: &str = "while the cluster is down";

/// Classifies. What the server said is cut, made visible, and has none of `secrets`: a server, or a proxy before it, may
/// repeat what it was sent.
pub(crate) fn queue_error(endpoint: &str, error: &RedisError, secrets: &[String]) -> QueueError {
    let cause = error.to_string();
    let told = match excess(error) {
        Some(excess) => return QueueError::Data(format!("Redis at {endpoint} {}", told(excess, secrets))),
        None => told(&cause, secrets),
    };
    let told = if is_slot_away(error, &cause) {
        format!("the keys' slot is on its way to another node ({told})")
    } else {
        told
    };
    let unavailable = || QueueError::Unavailable { endpoint: endpoint.to_owned(), cause: told.clone() };
    let denied = || QueueError::Denied { endpoint: endpoint.to_owned(), cause: told.clone() };
    match error.kind() {
        ErrorKind::AuthenticationFailed if !cause.contains("LOADING") => denied(),
        ErrorKind::InvalidClientConfig => QueueError::Config(format!("Redis at {endpoint}: {told}")),
        ErrorKind::MasterNameNotFoundBySentinel => QueueError::Config(format!("Sentinel at {endpoint}: {told}")),
        ErrorKind::Io if is_tls_refusal(&cause) => denied(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => denied(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::Server(ServerErrorKind::CrossSlot) => {
            QueueError::Data(told)
        }
        ErrorKind::Extension | ErrorKind::Server(ServerErrorKind::ResponseError) => {
            let code = error.code().unwrap_or_default();
            // Inside a script the code may have become part of the text.
            let is = |codes: &[&str]| codes.iter().any(|known| code == *known || cause.contains(known));
            if is(&DENIED) {
                denied()
            } else if is_slot_away(error, &cause) || cause.contains(CLUSTER_DOWN) {
                unavailable()
            } else if is(&DATA) || code == "ERR" {
                QueueError::Data(told)
            } else {
                unavailable()
            }
        }
        _ => unavailable(),
    }
}

impl QueueError {
    /// What a person can check or do, where something can be said: one clause that may follow the error or stand alone.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { cause, .. } if cause.to_lowercase().contains("loading") => {
                Some("wait until Redis has loaded its data")
            }
            Self::Unavailable { .. } => Some("check that Redis runs at this address and can be reached from here"),
            Self::Denied { cause, .. } if is_tls_refusal(cause) => {
                Some("check the certificates: --redis-ca, --redis-cert and --redis-key")
            }
            Self::Denied { cause, .. } if cause.contains("NOAUTH") => Some(
                "Redis asks for a password: give one in the URL (--redis or JOBQUEUE_REDIS_URL), as in redis://:PASSWORD@HOST or \
                     redis://USER:PASSWORD@HOST",
            ),
            Self::Denied { cause, .. } if RIGHTS.iter().any(|sign| cause.contains(sign)) => {
                Some("check what the user of the URL may do: jobqueue acl prints what it needs")
            }
            Self::Denied { .. } => Some(
                "check user and password in the URL (--redis or JOBQUEUE_REDIS_URL), where characters such as @, / and % are \
                     percent-encoded",
            ),
            Self::Data(_) | Self::Config(_) => None,
        }
    }
}

/// The same for an error that a script told of one queue.
pub(crate) fn error_of_text(endpoint: &str, queue: &str, text: &str) -> QueueError {
    let reply = format!("-{}\r\n", text.replace(['\r', '\n'], " "));
    match redis::parse_redis_value(reply.as_bytes()).and_then(redis::Value::extract_error) {
        Err(error) => match queue_error(endpoint, &error, &[]) {
            QueueError::Data(cause) => QueueError::Data(format!("{queue}: {cause}")),
            other => other,
        },
        Ok(_) => QueueError::Data(format!("{queue}: {}", told(text, &[]))),
    }
}

fn is_slot_away(error: &RedisError, words: &str) -> bool {
    let away = matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain));
    away || words.contains(SLOT_AWAY)
}

/// rustls reports a refused certificate as an I/O error with one of these in its text.
fn is_tls_refusal(cause: &str) -> bool {
    ["certificate", "received fatal alert", "CertificateRequired", "UnknownIssuer"]
        .iter()
        .any(|sign| cause.contains(sign))
}

/// Whether the connection is of no more use: broken, silent for too long, or to a master that is one no longer.
pub(crate) fn breaks_connection(error: &RedisError, is_cluster: bool) -> bool {
    // A cluster client follows its masters by itself.
    let demoted = matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown));
    error.is_unrecoverable_error() || error.is_connection_dropped() || error.is_timeout() || (demoted && !is_cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, detail: &str) -> QueueError {
        let reply = redis::parse_redis_value(format!("-{code} {detail}\r\n").as_bytes()).unwrap();
        queue_error("redis://h:6379/0", &reply.extract_error().unwrap_err(), &[])
    }

    #[test]
    fn codes_are_sorted_by_what_a_caller_can_do() {
        for code in ["NOAUTH", "WRONGPASS", "NOPERM"] {
            assert!(matches!(server(code, "x"), QueueError::Denied { .. }), "{code}");
        }
        for code in ["LOADING", "READONLY", "OOM", "MISCONF", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"] {
            assert!(matches!(server(code, "x"), QueueError::Unavailable { .. }), "{code}");
        }
        for code in ["ASK", "MOVED"] {
            assert!(matches!(server(code, "7 h:1"), QueueError::Unavailable { .. }), "{code}");
        }
        assert!(server("ASK", "7 h:1").to_string().contains("on its way"));
        for text in
            ["access a non local key in a cluster node script: f", "execute a command while the cluster is down"]
        {
            let error = server("ERR", &format!("Script attempted to {text}"));
            assert!(matches!(error, QueueError::Unavailable { .. }), "{error}");
        }
        for code in ["WRONGTYPE", "ERR", "CROSSSLOT"] {
            assert!(matches!(server(code, "x"), QueueError::Data(_)), "{code}");
        }
    }

    #[test]
    fn what_to_do_follows_from_what_redis_said() {
        let remedy = |code: &str, detail: &str| server(code, detail).remedy().unwrap_or_default();
        assert!(remedy("NOAUTH", "Authentication required.").contains("redis://:PASSWORD@HOST"));
        assert!(remedy("WRONGPASS", "invalid username-password pair").contains("percent-encoded"));
        assert!(remedy("NOPERM", "this user has no permissions").contains("jobqueue acl"));
        assert!(remedy("LOADING", "Redis is loading the dataset in memory").contains("wait"));
        assert_eq!(remedy("WRONGTYPE", "a list"), "");
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        assert!(
            queue_error("redis://h", &refused.into(), &[]).remedy().is_some_and(|text| text.contains("Redis runs"))
        );
        let certificate = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        assert!(
            queue_error("redis://h", &certificate.into(), &[]).remedy().is_some_and(|text| text.contains("--redis-ca"))
        );
    }

    #[test]
    fn network_trouble_is_for_later_and_a_bad_certificate_is_not() {
        let io = |text: &str| {
            let error = std::io::Error::new(std::io::ErrorKind::ConnectionReset, text.to_owned());
            queue_error("redis://h:6379/0", &error.into(), &[])
        };
        assert!(matches!(io("connection reset"), QueueError::Unavailable { .. }));
        assert!(matches!(io("invalid peer certificate: UnknownIssuer"), QueueError::Denied { .. }));
    }
}
