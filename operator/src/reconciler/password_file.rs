//! Where the operator finds the password of a queue's Redis, if it is in a file: in a folder of the queue's namespace, so that
//! no JobQueue reaches another file of the operator, or the password of another namespace.

use std::path::{Path, PathBuf};

use jobqueue_crds::JobQueue;
use kube::ResourceExt;

/// The file for a queue, which its workers know under another folder; `None` if its password is not in a file. An error says
/// in words what is missing.
pub(super) fn password_file(queue: &JobQueue, directory: Option<&Path>) -> Result<Option<PathBuf>, String> {
    const FIELD: &str = "spec.queue.redis.passwordFile";
    let Some(given) = queue.spec.queue.redis.password_file.as_deref() else { return Ok(None) };
    let directory = directory.ok_or_else(|| {
        format!("{FIELD}: this operator has no --password-directory to find the password in; set it, or use a Secret")
    })?;
    // The last part of the path alone: neither `..` nor a folder.
    let name = Path::new(given).file_name().ok_or_else(|| format!("{FIELD}: {given} names no file"))?;
    Ok(Some(directory.join(queue.namespace().unwrap_or_default()).join(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queue(file: &str) -> JobQueue {
        serde_json::from_value(json!({
            "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": "q", "namespace": "shop"},
            "spec": {"queue": {"names": ["q"], "redis": {"url": "redis://a", "passwordFile": file}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_namespace_reaches_its_own_folder_and_nothing_else() {
        let found = |file: &str| password_file(&queue(file), Some(Path::new("/passwords")));
        assert_eq!(found("/var/run/token"), Ok(Some("/passwords/shop/token".into())));
        assert_eq!(found("/x/../../other/token"), Ok(Some("/passwords/shop/token".into())));
        assert_eq!(found("/a/b/"), Ok(Some("/passwords/shop/b".into())));
        for file in ["/", "/a/.."] {
            assert!(found(file).is_err(), "{file}");
        }
        assert!(password_file(&queue("/token"), None).unwrap_err().contains("--password-directory"));
    }
}
