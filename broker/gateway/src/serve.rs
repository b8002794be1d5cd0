//! Connections: HTTP/1.1 over TCP, with a bound on everything that a client could hold open.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Connection, Serving};
use crate::{Gateway, door};

/// How long to wait after the operating system refused a connection: it has run out of file descriptors, and
/// asking again at once would only burn a core.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// Serves clients on `listener` until `shutdown` is ready; then takes no more of them, answers long polls, and
/// lets what is in flight finish, for [`crate::GatewayConfig::stop_max`] at most.
pub async fn serve(listener: TcpListener, gateway: Gateway, shutdown: impl Future<Output = ()>) {
    let protocol = protocol(&gateway);
    let room = Arc::new(Semaphore::new(gateway.config().connections_max));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, permit) = tokio::select! {
            accepted = accept(&listener, &room, gateway.config().unread_max) => accepted,
            () = &mut shutdown => break,
        };
        let stream = Connection::new(stream, gateway.clone());
        let (gateway, is_serving) = (gateway.clone(), stream.is_serving());
        let service = service_fn(move |request| {
            let serving = Serving::begin(&is_serving);
            let answer = door::answer(gateway.clone(), request);
            async {
                let answer = answer.await;
                drop(serving);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = protocol.serve_connection(stream, service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    gateway.stop();
    let finished = tokio::time::timeout(gateway.config().stop_max, graceful.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("requests were still in flight when the time to stop was over");
    }
}

/// HTTP/1.1 with its bounds; the one on the time of a head is the connection's. Without `pipeline_flush`: while it has
/// unread input it does not flush the answer to a head that it cannot read (hyper 1.12).
fn protocol(gateway: &Gateway) -> http1::Builder {
    let config = gateway.config();
    let mut protocol = http1::Builder::new();
    protocol.max_buf_size(config.head_bytes_max);
    protocol
}

/// The next connection, when there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    unread_max: Duration,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let permit = Arc::clone(room)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                configure(&stream, unread_max);
                return (stream, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// What fails here fails because the client is gone already, which is found out soon enough.
fn configure(stream: &TcpStream, unread_max: Duration) {
    // An answer is written in one piece; waiting for more of it would only delay it.
    let _ = stream.set_nodelay(true);
    // The kernel counts how long sent bytes wait, also for a client whose window stays shut.
    let ms = u32::try_from(unread_max.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(stream, ms);
}
