//! Serves the API on a Unix socket: a bounded number of peers, each of this user, each with a time to say what it wants.
//! A peer that misbehaves loses its connection and nothing else happens.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::routes::Api;
use crate::sys;

/// Peers at a time; more wait until one goes.
const CONNECTIONS_MAX: usize = 256;
/// How long a peer may take for the head of a request.
const HEAD_SECONDS_MAX: u64 = 30;
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long to wait when the system has no more file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, api: Api) {
    let router = api.router();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) if is_of_this_user(&stream) => stream,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection accepted");
                let _ = tokio::time::timeout(BACK_OFF, std::future::pending::<()>()).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX));
            connection.max_buf_size(HEAD_BYTES_MAX);
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
}

/// The folder of the socket keeps others out; this holds even if somebody opens it up.
fn is_of_this_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == sys::user() || peer.uid() == 0)
}
