//! The trial of everything the scripts do, queue by queue.

use super::RqQueue;
use super::lua::registration::try_rights;
use crate::QueueError;

impl RqQueue {
    pub(super) async fn try_rights(&self) -> Result<Vec<(String, Result<(), QueueError>)>, QueueError> {
        let calls: Vec<_> = self.config.names.iter().map(|name| try_rights(self.caller(), name)).collect();
        let answers = self.connection.invoke_all(&calls).await?;
        Ok(self.config.names.iter().cloned().zip(answers.into_iter().map(|answer| answer.map(drop))).collect())
    }
}
