//! The node's log as openraft's log storage.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use millrace_store::log::{GroupLog, LogError};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use crate::codec;
use crate::types::{Entry, Position, TypeConfig, Vote};

/// Bytes of entries that one read for replication returns; openraft counts entries, ours are up to 512 KiB.
const READ_BYTES: usize = 1 << 20;

/// One group's log, for openraft.
///
/// **Invariants** (openraft's, kept by the log): entries are readable when `append` returns; a completion covers
/// all earlier IO of the node, votes included; writes take effect in the order of the calls.
#[derive(Clone, Debug)]
pub(crate) struct LogStore(pub(crate) GroupLog);

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Waits for `start` to be durable.
async fn durable(
    start: impl FnOnce(Box<dyn FnOnce(Result<(), Arc<LogError>>) + Send>) -> Result<(), Arc<LogError>>,
) -> io::Result<()> {
    let (done, is_done) = oneshot::channel();
    start(Box::new(move |result| {
        // Nobody waits any more when openraft was stopped; the record is written all the same.
        let _ = done.send(result);
    }))
    .map_err(failed)?;
    is_done.await.map_err(failed)?.map_err(failed)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let records = self.0.read(
            (range.start_bound().cloned(), range.end_bound().cloned()),
            usize::MAX,
        );
        records
            .map_err(failed)?
            .into_iter()
            .map(codec::to_entry)
            .collect()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let records = self.0.read(start..end, READ_BYTES).map_err(failed)?;
        records.into_iter().map(codec::to_entry).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.0
            .read_vote()
            .map(|bytes| codec::decode_vote(&bytes))
            .transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState {
            last_purged_log_id: self.0.purged().map(codec::from_log),
            last_log_id: self.0.last().map(codec::from_log),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = codec::encode_vote(vote);
        durable(|done| self.0.save_vote(vote.into(), done)).await
    }

    async fn save_committed(&mut self, committed: Option<Position>) -> Result<(), io::Error> {
        self.0.save_committed(committed.as_ref().map(codec::to_log));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<Position>, io::Error> {
        Ok(self.0.read_committed().map(codec::from_log))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let records = entries.into_iter().map(codec::to_record).collect();
        let done = Box::new(|result: Result<(), Arc<LogError>>| {
            callback.io_completed(result.map_err(failed));
        });
        self.0.append(records, done).map_err(failed)
    }

    async fn truncate_after(&mut self, last: Option<Position>) -> Result<(), io::Error> {
        let last = last.map(|last| last.index);
        // Nothing lies behind the end; the log would call it a mistake to cut there.
        if last.is_some_and(|last| self.0.last().is_none_or(|end| end.index <= last)) {
            return Ok(());
        }
        durable(|done| self.0.truncate_after(last, done)).await
    }

    async fn purge(&mut self, upto: Position) -> Result<(), io::Error> {
        self.0.purge(codec::to_log(&upto)).map_err(failed)
    }
}
