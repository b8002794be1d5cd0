//! Deduplication windows: a request with a key that was seen gets the outcome of the first one.

use millrace_model::command::{Deduplication, Kept};
use millrace_model::outcome::Accepted;
use millrace_model::{
    DeduplicationKey, Fault, Outcome, QueueId, Refusal, Tables, Timestamp, TopicId, limit, row,
};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::scan::{damaged, each_row};
use crate::state::State;

/// Within what a key is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Topic(TopicId),
    Queue(QueueId),
}

/// A remembered request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// Digest of the request: another one under the same key is refused.
    request: u64,
    /// When the window ends.
    expires: Timestamp,
    /// What was answered.
    outcome: Vec<Result<Accepted, Refusal>>,
}

/// Remembered requests. They are rows; what is here tells a tick when to look at them.
///
/// Invariants:
/// - Every remembered request has exactly one row of its expiry, and no other such rows exist.
/// - No request is forgotten before its window ends; `next` is no later than the first end.
#[derive(Debug, Default)]
pub(crate) struct Deduplications {
    next: Option<Timestamp>,
}

/// Bytes of a scope with a key: kind, number, key.
const SCOPED: usize = 1 + 4 + 16;

impl Scope {
    fn key(self, tag: u8, key: &DeduplicationKey) -> [u8; 1 + SCOPED] {
        let (kind, id) = match self {
            Self::Topic(id) => (0, id.0),
            Self::Queue(id) => (1, id.0),
        };
        let mut bytes = [tag; 1 + SCOPED];
        bytes[1] = kind;
        bytes[2..6].copy_from_slice(&id.to_be_bytes());
        bytes[6..].copy_from_slice(&key.key);
        bytes
    }
}

/// The key of the expiry of what is remembered under `key`.
fn expiry(expires: Timestamp, key: &[u8; 1 + SCOPED]) -> [u8; 9 + SCOPED] {
    let mut bytes = [keys::EXPIRY; 9 + SCOPED];
    bytes[1..9].copy_from_slice(&expires.0.to_be_bytes());
    bytes[9..].copy_from_slice(&key[1..]);
    bytes
}

/// The time of an expiry, and the key of what is remembered.
fn split_expiry(key: &[u8]) -> Option<(Timestamp, [u8; 1 + SCOPED])> {
    let expires = Timestamp(u64::from_be_bytes(*key.get(1..9)?.first_chunk()?));
    let mut remembered = [keys::REMEMBERED; 1 + SCOPED];
    let scoped: &[u8; SCOPED] = key.get(9..)?.try_into().ok()?;
    remembered[1..].copy_from_slice(scoped);
    Some((expires, remembered))
}

impl Deduplications {
    pub(crate) fn open<T: Tables>(tables: &T, state: &State) -> Result<Self, Fault> {
        let mut windows = Self::default();
        windows.find_next(tables, state)?;
        Ok(windows)
    }

    /// When a window may end.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.next
    }

    /// The outcome of a request that came before, if its window has not ended.
    pub(crate) fn recall<T: Tables>(
        tables: &T,
        at: Timestamp,
        scope: Scope,
        asked: &Deduplication,
    ) -> Result<Option<Outcome>, Fault> {
        let remembered = read(tables, &scope.key(keys::REMEMBERED, &asked.key))?;
        Ok(remembered
            .filter(|remembered| at < remembered.expires)
            .map(|remembered| {
                if remembered.request == asked.key.request {
                    Outcome::Accepted(remembered.outcome)
                } else {
                    Outcome::Refused(Refusal::KeyReused)
                }
            }))
    }

    /// Remembers a request, unless nothing of it was accepted: then a retry must be tried anew.
    pub(crate) fn remember<T: Tables>(
        &mut self,
        tables: &mut T,
        state: &State,
        scope: Scope,
        asked: &Deduplication,
        outcome: &[Result<Accepted, Refusal>],
    ) -> Result<(), Fault> {
        if asked.window_ms == 0 || outcome.iter().all(Result::is_err) {
            return Ok(());
        }
        let key = scope.key(keys::REMEMBERED, &asked.key);
        if let Some(before) = read(tables, &key)? {
            assert!(
                before.expires <= state.at,
                "a window that holds is recalled, not replaced"
            );
            tables.remove(&expiry(before.expires, &key));
            self.find_next(tables, state)?;
        }
        let expires = state.at.plus_ms(asked.window_ms);
        let remembered = Remembered {
            request: asked.key.request,
            expires,
            outcome: outcome.to_vec(),
        };
        tables.put(&key, row::encode(&remembered));
        tables.insert(&expiry(expires, &key), Vec::new());
        self.next = Some(self.next.map_or(expires, |next| next.min(expires)));
        Ok(())
    }

    /// Remembered requests of a scope behind a key, and whether they are the last; bounded.
    pub(crate) fn portion<T: Tables>(
        tables: &T,
        scope: Scope,
        after: Option<[u8; 16]>,
    ) -> Result<(Vec<Kept>, bool), Fault> {
        let bound = |key: [u8; 16]| {
            let key = DeduplicationKey { key, request: 0 };
            [&scope.key(keys::REMEMBERED, &key)[..], &[0]].concat()
        };
        let from = after.map_or_else(|| bound([0; 16])[..1 + SCOPED].to_vec(), bound);
        let rows = tables.scan(&from, &bound([u8::MAX; 16]), limit::CARRY_ROWS_MAX)?;
        let mut bytes = 0;
        let mut kept = Vec::with_capacity(rows.len());
        for (key, value) in &rows {
            bytes += value.len();
            if bytes > limit::CARRY_BYTES_MAX && !kept.is_empty() {
                return Ok((kept, false));
            }
            let remembered: Remembered = row::decode("a remembered request", value)?;
            let key = key.last_chunk();
            kept.push(Kept {
                key: *key.ok_or_else(|| damaged("a remembered request"))?,
                request: remembered.request,
                expires: remembered.expires,
                outcome: remembered.outcome,
            });
        }
        Ok((kept, rows.len() < limit::CARRY_ROWS_MAX))
    }

    /// Remembers a request that another group accepted, unless its window has ended or this group knows a later one.
    pub(crate) fn keep<T: Tables>(
        &mut self,
        tables: &mut T,
        state: &State,
        scope: Scope,
        kept: &Kept,
    ) -> Result<(), Fault> {
        let asked = DeduplicationKey {
            key: kept.key,
            request: kept.request,
        };
        let key = scope.key(keys::REMEMBERED, &asked);
        let before = read(tables, &key)?.map(|before| before.expires);
        if kept.expires <= state.at || before.is_some_and(|before| before >= kept.expires) {
            return Ok(());
        }
        if let Some(before) = before {
            tables.remove(&expiry(before, &key));
        }
        let remembered = Remembered {
            request: kept.request,
            expires: kept.expires,
            outcome: kept.outcome.clone(),
        };
        tables.put(&key, row::encode(&remembered));
        tables.insert(&expiry(kept.expires, &key), Vec::new());
        self.find_next(tables, state)
    }

    /// Forgets requests whose windows have ended, at most `budget` of them.
    pub(crate) fn expire<T: Tables>(
        &mut self,
        tables: &mut T,
        state: &mut State,
        budget: usize,
    ) -> Result<usize, Fault> {
        if self.next.is_none_or(|next| state.at < next) || budget == 0 {
            return Ok(0);
        }
        let (from, until) = (first_expiry(state), keys::all(keys::EXPIRY).1);
        let mut work = 0;
        for (key, _) in tables.scan(&from, &until, budget)? {
            let (expires, remembered) = split_expiry(&key).ok_or_else(|| damaged("an expiry"))?;
            if state.at < expires {
                break;
            }
            tables.remove(&key);
            tables.remove(&remembered);
            state.deduplication_from = expires;
            work += 1;
        }
        self.find_next(tables, state)?;
        Ok(work)
    }

    fn find_next<T: Tables>(&mut self, tables: &T, state: &State) -> Result<(), Fault> {
        let (from, until) = (first_expiry(state), keys::all(keys::EXPIRY).1);
        let first = tables.scan(&from, &until, 1)?;
        self.next = match first.first() {
            Some((key, _)) => {
                let (expires, _) = split_expiry(key).ok_or_else(|| damaged("an expiry"))?;
                Some(expires)
            }
            None => None,
        };
        Ok(())
    }

    /// What does not hold of the rows.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        state: &State,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut remembered = 0_u64;
        let mut found = |text: String| violations.push(text);
        let (from, until) = keys::all(keys::REMEMBERED);
        each_row(tables, &from, &until, |key, value| {
            remembered += 1;
            let window: Remembered = row::decode("a remembered request", value)?;
            let key = key
                .try_into()
                .map_err(|_| damaged("a remembered request"))?;
            if tables.get(&expiry(window.expires, key))?.is_none() {
                found(format!("a remembered request {key:?} has no expiry"));
            }
            if self.next.is_none_or(|next| window.expires < next) {
                found(format!(
                    "a window ends before {:?}, the first end",
                    self.next
                ));
            }
            if window.expires < state.deduplication_from {
                found(format!(
                    "a window ends before the cursor {}",
                    state.deduplication_from
                ));
            }
            Ok(())
        })?;
        let (from, until) = keys::all(keys::EXPIRY);
        let mut expiries = 0_u64;
        each_row(tables, &from, &until, |_, _| {
            expiries += 1;
            Ok(())
        })?;
        if expiries != remembered {
            violations.push(format!(
                "{remembered} remembered requests, {expiries} expiries"
            ));
        }
        Ok(())
    }
}

fn first_expiry(state: &State) -> Vec<u8> {
    [
        &[keys::EXPIRY][..],
        &state.deduplication_from.0.to_be_bytes(),
    ]
    .concat()
}

fn read<T: Tables>(tables: &T, key: &[u8]) -> Result<Option<Remembered>, Fault> {
    let value = tables.get(key)?;
    value
        .map(|value| row::decode("a remembered request", &value))
        .transpose()
}
