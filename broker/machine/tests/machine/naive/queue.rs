//! A queue as a list.

use millrace_model::query::{EntryState, Peeked};
use millrace_model::{PayloadRef, QueueConfig, QueueId, Refusal, Timestamp};

#[derive(Clone, Debug)]
pub(super) enum State {
    Ready,
    Delayed(Timestamp),
    Leased { nonce: u64, until: Timestamp },
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) payload: PayloadRef,
    pub(super) enqueued_at: Timestamp,
    pub(super) receive_count: u32,
    pub(super) first_received_at: Option<Timestamp>,
    pub(super) source: Option<(QueueId, String)>,
    pub(super) state: State,
}

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) config: QueueConfig,
    pub(super) dead_letter: Option<QueueId>,
    pub(super) next: u64,
    /// Not later than the oldest entry; decides only when a tick looks.
    pub(super) oldest: Timestamp,
    pub(super) entries: Vec<Entry>,
}

impl Queue {
    pub(super) fn append(
        &mut self,
        at: Timestamp,
        payload: PayloadRef,
        delay_ms: Option<u64>,
        source: Option<(QueueId, String)>,
    ) -> Result<u64, Refusal> {
        if self.entries.len() as u64 >= self.config.max_entries.unwrap_or(u64::MAX) {
            return Err(Refusal::QueueFull(self.name.clone()));
        }
        let delay_ms = delay_ms.unwrap_or(self.config.delay_seconds * 1_000);
        Ok(self.append_anyway(at, payload, delay_ms, source))
    }

    pub(super) fn append_anyway(
        &mut self,
        at: Timestamp,
        payload: PayloadRef,
        delay_ms: u64,
        source: Option<(QueueId, String)>,
    ) -> u64 {
        if self.entries.is_empty() {
            self.oldest = at;
        }
        self.next += 1;
        self.entries.push(Entry {
            sequence: self.next - 1,
            payload,
            enqueued_at: at,
            receive_count: 0,
            first_received_at: None,
            source,
            state: if delay_ms > 0 {
                State::Delayed(at.plus_ms(delay_ms))
            } else {
                State::Ready
            },
        });
        self.next - 1
    }

    /// Appends what another group accepted at `at`, which is earlier than `now`.
    pub(super) fn append_carried(
        &mut self,
        at: Timestamp,
        now: Timestamp,
        payload: PayloadRef,
        delay_ms: Option<u64>,
    ) {
        let oldest = self.oldest;
        let was_empty = self.entries.is_empty();
        let due = at.plus_ms(delay_ms.unwrap_or(self.config.delay_seconds * 1_000));
        let delay_ms = due.since(now);
        let sequence = self.append_anyway(now, payload, delay_ms, None);
        self.entry(sequence).enqueued_at = at;
        self.oldest = if was_empty { at } else { oldest.min(at) };
    }

    pub(super) fn entry(&mut self, sequence: u64) -> &mut Entry {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.sequence == sequence).unwrap()
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        let ends = self.entries.iter().filter_map(|entry| match entry.state {
            State::Ready => None,
            State::Delayed(due) => Some(due),
            State::Leased { until, .. } => Some(until),
        });
        let retention = self
            .config
            .retention_seconds
            .filter(|_| !self.entries.is_empty());
        ends.chain(retention.map(|it| self.oldest.plus_ms(it * 1_000)))
            .min()
    }
}

impl Entry {
    pub(super) fn peek(&self) -> Peeked {
        let (state, visible_at) = match self.state {
            State::Ready => (EntryState::Ready, None),
            State::Delayed(due) => (EntryState::Delayed, Some(due)),
            State::Leased { until, .. } => (EntryState::Leased, Some(until)),
        };
        Peeked {
            sequence: self.sequence,
            state,
            enqueued_at: self.enqueued_at,
            receive_count: self.receive_count,
            first_received_at: self.first_received_at,
            visible_at,
            dead_letter_source: self.source.as_ref().map(|(_, name)| name.clone()),
            payload: self.payload,
        }
    }
}
