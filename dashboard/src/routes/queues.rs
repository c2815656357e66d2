//! The list, and one queue.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use chrono::Utc;

use super::{field, fields, frame, key, page_of, refused};
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
    let source = app.source.title();
    pages::queues(&frame(&app, &visitor, &source, true), &overview, wanted, page)
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(path): Path<(String, String)>,
) -> Response {
    let key = key(path);
    let view = match app.queue(&visitor, &key).await {
        Ok(view) => view,
        Err(problem) => return refused(&app, &visitor, &problem),
    };
    let asked = async {
        match &app.prometheus {
            Some(prometheus) => Some(prometheus.samples(&key).await),
            None => None,
        }
    };
    let ((workers, workers_problem), more_samples) = tokio::join!(workers(app.source.backlog(&key), &view.pods), asked);
    let page = QueuePage { view, workers, workers_problem, more_samples };
    let source = app.source.title();
    pages::queue(&frame(&app, &visitor, &source, true), &page, Utc::now())
}
