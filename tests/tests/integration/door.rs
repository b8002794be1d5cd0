//! [`Door`]: where bad input is refused.

use millrace_tests::raw::{self, RawAnswer};
use millrace_tests::{Broker, Client};
use serde_json::json;

use crate::scene::{queue, receive, send, topic};

/// Where bad events are sent to.
pub(crate) const SEND: &str = "/v1/queues/q/messages";
/// The media type of the structured mode.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of the batched mode.
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
/// The media type of plain JSON.
pub(crate) const JSON: &str = "application/json";

/// A broker with a topic `t` and a queue `q`; and at the end, that nothing came into `q` and that it serves.
pub(crate) struct Door {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
}

impl Door {
    pub(crate) fn open() -> Self {
        let broker = Broker::start();
        let client = broker.client();
        topic(&client, "t");
        queue(&client, "q");
        Self { broker, client }
    }

    pub(crate) fn raw(&self, request: &[u8]) -> RawAnswer {
        raw::exchange(self.broker.address(), request).expect("an answer")
    }

    /// The request is refused so, and the next one is served.
    #[track_caller]
    pub(crate) fn refuses(&self, what: &str, request: &[u8], status: u16, code: &str) {
        let answer = self.raw(request);
        let got = (answer.status, answer.code());
        assert_eq!(got, (status, code.to_owned()), "{what}: {}", answer.body);
        let stored = receive(&self.client, "q", 10);
        assert!(stored.is_empty(), "{what} was stored: {stored:?}");
        send(&self.client, "q", &json!("next"));
        let next = receive(&self.client, "q", 10);
        assert_eq!(next.len(), 1, "{what}: the next request");
        let receipts = json!({"receipts": [next[0]["receipt"]]});
        self.client.post("/v1/queues/q/ack", &receipts).expect(200);
    }

    #[track_caller]
    pub(crate) fn refuses_post(&self, kind: &str, body: &[u8], status: u16, code: &str) {
        let length = body.len().to_string();
        let headers = [("Content-Type", kind), ("Content-Length", &length)];
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let what = format!("{kind}: {shown}");
        self.refuses(
            &what,
            &raw::request("POST", SEND, &headers, body),
            status,
            code,
        );
    }
}
