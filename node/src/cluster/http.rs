//! What a node answers over HTTP: `/metrics`, `/livez`, `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use boom_client::program::http;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Shared;

#[derive(Debug, Clone)]
struct Shown {
    shared: Shared,
    registry: Arc<Registry>,
}

/// Answers until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Shared,
    registry: Registry,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let shown = Shown { shared, registry: Arc::new(registry) };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(shown);
    http::serve(listener, routes, stop).await
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shown.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, http::OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// A node is ready while it may act as owner.
async fn readyz(State(shown): State<Shown>) -> Response {
    let (lease, me) = {
        let node = shown.shared.node();
        (node.lease(), node.me().to_string())
    };
    if lease.is_some_and(|until| shown.shared.clock.now() < until) {
        (StatusCode::OK, format!("{me} has a lease\n")).into_response()
    } else {
        let why = format!("{me} has no lease: no leader has taken it in\n");
        (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
    }
}
