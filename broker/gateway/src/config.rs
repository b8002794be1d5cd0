//! What the door allows.

use std::time::Duration;

use millrace_model::limit;

/// The limits of the door. The defaults serve; every one can be lowered.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Largest event as published, in bytes; topics and queues may lower it further.
    pub event_bytes_max: usize,
    /// Largest body of a publish or send, in bytes.
    pub request_bytes_max: usize,
    /// Most events of one publish or send.
    pub request_events_max: usize,
    /// Most publishes, sends, uploads and changes of configuration at one time; past it they get 429. Receives, acks and the
    /// operator's routes are never held back: they make room.
    pub requests_in_flight_max: usize,
    /// Most bytes of request bodies in memory at one time; past it a request gets 429.
    pub body_bytes_in_flight_max: usize,
    /// How long a body may take to arrive; past it the request gets 408.
    pub body_read_max: Duration,
    /// How long a request's head may take to arrive, and how long a connection may stay idle.
    pub head_read_max: Duration,
    /// How long a client may leave an answer unread before its connection is cut.
    pub unread_max: Duration,
    /// Largest head of a request, in bytes; past it the request gets 431, and its connection is closed.
    pub head_bytes_max: usize,
    /// Most connections; more wait in the operating system's queue.
    pub connections_max: usize,
    /// How long requests in flight may go on after the order to stop.
    pub stop_max: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            event_bytes_max: limit::EVENT_BYTES_MAX,
            request_bytes_max: limit::REQUEST_BYTES_MAX,
            request_events_max: limit::REQUEST_EVENTS_MAX,
            requests_in_flight_max: limit::PROPOSALS_WAITING_MAX,
            body_bytes_in_flight_max: limit::PROPOSALS_WAITING_BYTES_MAX,
            body_read_max: Duration::from_secs(60),
            head_read_max: Duration::from_secs(60),
            unread_max: Duration::from_secs(30),
            head_bytes_max: 256 * 1024,
            connections_max: 10_000,
            stop_max: Duration::from_secs(10),
        }
    }
}
