//! The list, and one queue.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::Utc;

use super::{Asked, field, fields, frame, page_of, refused};
use crate::App;
use crate::access::Visitor;
use crate::pages::{self, PAGE, QueuePage};
use crate::source::Order;
use crate::workers::workers;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = fields(query.as_deref().unwrap_or_default());
    let (wanted, page) = (field(&fields, "q"), page_of(&fields));
    let visible = match app.access.visible(&visitor, &*app.source).await {
        Ok(visible) => visible,
        Err(problem) => return refused(&app, &visitor, &problem),
    };
    let overview = app.source.overview(wanted, Order::default(), (page - 1) * PAGE, PAGE, &visible).await;
    pages::queues(&frame(&app, &visitor, true), &overview, wanted, page)
}

pub(super) async fn one(asked: Asked) -> Response {
    let view = match asked.queue().await {
        Ok(view) => view,
        Err(problem) => return asked.refused(&problem),
    };
    let (app, key) = (&asked.app, &asked.key);
    let more = async {
        match &app.prometheus {
            Some(prometheus) => Some(prometheus.samples(key).await),
            None => None,
        }
    };
    let ((workers, workers_problem), more_samples) = tokio::join!(workers(asked.backlog(), &view.pods), more);
    let page = QueuePage { view, workers, workers_problem, more_samples };
    pages::queue(&asked.frame(true), &page, Utc::now())
}
