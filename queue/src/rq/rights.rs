//! The trial of everything the scripts do, queue by queue.

use super::{RIGHTS, RqQueue};
use crate::QueueError;

impl RqQueue {
    pub(super) async fn try_rights(&self) -> Result<Vec<(String, Result<(), QueueError>)>, QueueError> {
        let calls: Vec<_> = (self.config.names.iter())
            .map(|name| RIGHTS.on(&self.route()).arg(self.keys.prefix()).arg(&self.config.worker_name).arg(name))
            .collect();
        let answers = self.connection.invoke_all(&calls).await?;
        Ok(self.config.names.iter().cloned().zip(answers.into_iter().map(|answer| answer.map(drop))).collect())
    }
}
