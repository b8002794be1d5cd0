//! One connection that receives from a queue and acknowledges what it got.

use std::io;
use std::time::Instant;

use super::answer;
use super::request::write_post;
use super::tally::Tally;
use super::wire::Wire;

/// A receiver of one queue.
#[derive(Debug)]
pub(super) struct Consumer {
    receive: Vec<u8>,
    ack_path: String,
    authority: String,
    /// The body, then the whole request, of the ack under way; kept to be filled again.
    ack_body: Vec<u8>,
    ack: Vec<u8>,
    /// Stamps of the events of the last answer.
    stamps: Vec<u64>,
}

impl Consumer {
    /// A receiver of the queue at this path, for up to `max` events at a time, which waits so long for the first.
    pub(super) fn new(authority: &str, queue_path: &str, max: usize, wait_seconds: u64) -> Self {
        let body = format!("{{\"max\":{max},\"wait_seconds\":{wait_seconds}}}");
        let mut receive = Vec::new();
        write_post(
            &mut receive,
            authority,
            &format!("{queue_path}/receive"),
            "application/json",
            body.as_bytes(),
        );
        Self {
            receive,
            ack_path: format!("{queue_path}/ack"),
            authority: authority.to_owned(),
            ack_body: Vec::new(),
            ack: Vec::new(),
            stamps: Vec::new(),
        }
    }

    /// Receives once, and acknowledges what came; gives how many events were acknowledged. Both requests are counted,
    /// their latency is not.
    ///
    /// # Errors
    /// When the connection breaks. Refusals are counted, and give 0.
    pub(super) async fn take(&mut self, wire: &mut Wire, tally: &mut Tally) -> io::Result<u64> {
        let received = self.receive(wire, tally).await?;
        if received == 0 {
            return Ok(0);
        }
        self.acknowledge(wire, tally, received).await
    }

    /// Stamps of the events that the last [`Consumer::take`] or [`Consumer::receive`] got.
    pub(super) fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    /// Receives once; gives how many events came.
    ///
    /// # Errors
    /// As [`Consumer::take`].
    pub(super) async fn receive(&mut self, wire: &mut Wire, tally: &mut Tally) -> io::Result<u64> {
        self.stamps.clear();
        let reply = wire.exchange(&self.receive).await?;
        if !tally.judge(reply) {
            return Ok(0);
        }
        self.ack_body.clear();
        self.ack_body.extend_from_slice(b"{\"receipts\":[");
        let mut count = 0;
        for receipt in answer::receipts(reply.body) {
            self.ack_body
                .extend_from_slice(if count == 0 { b"\"" } else { b",\"" });
            self.ack_body.extend_from_slice(receipt);
            self.ack_body.push(b'"');
            count += 1;
        }
        self.ack_body.extend_from_slice(b"]}");
        self.stamps.extend(answer::stamps(reply.body));
        // An answer without events is no work done: a poll that waited is not to make the rate of requests look better.
        tally.requests += u64::from(count > 0);
        Ok(count)
    }

    /// Acknowledges what the last [`Consumer::receive`] got, which was `received` events; gives how many were.
    ///
    /// # Errors
    /// As [`Consumer::take`].
    pub(super) async fn acknowledge(
        &mut self,
        wire: &mut Wire,
        tally: &mut Tally,
        received: u64,
    ) -> io::Result<u64> {
        self.ack.clear();
        write_post(
            &mut self.ack,
            &self.authority,
            &self.ack_path,
            "application/json",
            &self.ack_body,
        );
        let reply = wire.exchange(&self.ack).await?;
        if !tally.judge(reply) {
            return Ok(0);
        }
        let acked = answer::acked(reply.body);
        if acked != received {
            tally.error(|| {
                format!(
                    "{received} receipts, {acked} acknowledged: {}",
                    answer::quote(reply.body)
                )
            });
        }
        tally.requests += 1;
        tally.events += acked;
        Ok(acked)
    }
}

/// [`Consumer::take`], with its latency counted: from asking to the confirmed ack.
pub(super) async fn take_timed(
    consumer: &mut Consumer,
    wire: &mut Wire,
    tally: &mut Tally,
) -> io::Result<u64> {
    let began = Instant::now();
    let acked = consumer.take(wire, tally).await?;
    if acked > 0 {
        tally.latency(began.elapsed());
    }
    Ok(acked)
}
