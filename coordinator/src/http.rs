//! What monitoring asks over HTTP: metrics, whether the process lives and is ready, and where everything else is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use boom_client::program::http;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::control::{Control, View};
use crate::leader::Leaders;
use crate::metrics::Metrics;
use crate::store::directory::{Directory, Target};

/// How long the control loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What it works with.
#[derive(Debug)]
pub struct Monitored<D> {
    /// The control loop.
    pub control: Control,
    /// Who leads.
    pub leaders: Leaders,
    /// The metrics.
    pub metrics: Metrics,
    /// Where everything is.
    pub directory: Arc<D>,
    /// What the directory said last, for when it does not answer.
    pub known: Mutex<Vec<Target>>,
}

/// Serves until `stop`.
///
/// # Errors
/// The server ends.
pub async fn serve<D: Directory>(
    listener: TcpListener,
    monitored: Monitored<D>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let router = Router::new()
        .route("/metrics", get(metrics::<D>))
        .route("/livez", get(livez::<D>))
        .route("/readyz", get(readyz::<D>))
        .route("/http_sd", get(http_sd::<D>))
        .with_state(Arc::new(monitored));
    http::serve(listener, router, stop)
        .await
        .map_err(|error| Error::Task { what: "the HTTP server", why: error.to_string() })
}

type Shared<D> = State<Arc<Monitored<D>>>;

impl<D> Monitored<D> {
    /// What the leader knows; an error when the control loop does not answer.
    async fn look(&self) -> Result<Option<Box<View>>, String> {
        match timeout(PATIENCE, self.control.look()).await {
            Ok(looked) => looked.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the control loop does not answer in {PATIENCE:?}")),
        }
    }
}

async fn metrics<D: Directory>(State(monitored): Shared<D>) -> Response {
    let view = monitored.look().await.ok().flatten();
    let text = monitored.metrics.text(view.as_deref(), monitored.leaders.is_store_away());
    ([(header::CONTENT_TYPE, http::OPENMETRICS)], text).into_response()
}

async fn livez<D: Directory>(State(monitored): Shared<D>) -> Response {
    match monitored.look().await {
        Ok(_) => "it lives\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Ready is who leads, or knows who does.
async fn readyz<D: Directory>(State(monitored): Shared<D>) -> Response {
    let not_ready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response();
    match monitored.look().await {
        Err(why) => not_ready(&why),
        Ok(Some(view)) => format!("it leads, term {}\n", view.term).into_response(),
        Ok(None) => match (monitored.leaders.other(), monitored.leaders.why_unknown()) {
            (Some(leader), _) => format!("{} leads\n", leader.name).into_response(),
            (None, Some(why)) => not_ready(&format!("not ready: {why}")),
            (None, None) => not_ready("not ready: it is about to lead"),
        },
    }
}

/// Prometheus' HTTP service discovery.
async fn http_sd<D: Directory>(State(monitored): Shared<D>) -> Response {
    let found = monitored.directory.targets().await;
    let targets = {
        let mut known = monitored.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(found) = found {
            *known = found;
        }
        known.clone()
    };
    let entry = |target: &Target| json!({ "targets": [target.address], "labels": { "component": target.component, "name": target.name } });
    let entries: Vec<_> = targets.iter().map(entry).collect();
    axum::Json(entries).into_response()
}
