//! The pages of the demo service.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use super::options::FaultName;
use super::state::State;

/// The answer of `/ping` in a service that is never ready.
const NOT_READY: &str = r#"{"status":"DOWN","db":"connect timeout 10.0.9.5:5432"}"#;

/// Answers a request.
pub(super) async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> hyper::http::Result<Response<Full<Bytes>>> {
    let (status, body) = match request.uri().path() {
        // Requests about the service do not count as requests of its clients.
        "/ping" => ping(&state),
        "/metrics" => (StatusCode::OK, format!("in_flight {}\n", state.in_flight())),
        "/status" => (StatusCode::OK, describe(&state)),
        "/work" => {
            let _counted = state.begin();
            tokio::time::sleep(work(request.uri().query())).await;
            (StatusCode::OK, "done".to_owned())
        }
        _ => {
            let _counted = state.begin();
            (StatusCode::NOT_FOUND, "no such page\n".to_owned())
        }
    };
    Response::builder()
        .status(status)
        .header("X-App-Version", &state.options.version)
        .header("X-Node", state.options.listen.to_string())
        .body(Full::new(Bytes::from(body)))
}

fn ping(state: &State) -> (StatusCode, String) {
    match state.options.fault {
        FaultName::NeverReady => (StatusCode::SERVICE_UNAVAILABLE, NOT_READY.to_owned()),
        _ => (StatusCode::OK, "pong".to_owned()),
    }
}

fn describe(state: &State) -> String {
    json!({
        "version": state.options.version,
        "in_flight": state.in_flight(),
        "pid": std::process::id(),
    })
    .to_string()
}

/// Returns how long `/work?ms=…` takes.
fn work(query: Option<&str>) -> Duration {
    let milliseconds = query
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("ms=")))
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    Duration::from_millis(milliseconds)
}
