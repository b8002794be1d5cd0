//! Parked events: each subscription has a list of those that its plugin failed on, or that came while it was
//! paused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use millrace_model::command::Park;
use millrace_model::query::ParkedEvent;
use millrace_model::{Fault, PayloadRef, Refusal, SubscriptionId, Tables, Timestamp, limit, row};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::scan::{damaged, each_row};

/// The row of a parked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) payload: PayloadRef,
    pub(crate) parked_at: Timestamp,
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) plugin: Option<String>,
}

impl Parked {
    pub(crate) fn new(park: &Park, payload: PayloadRef, parked_at: Timestamp) -> Self {
        Self {
            payload,
            parked_at,
            code: park.code.clone(),
            detail: park.detail.clone(),
            plugin: park.plugin.clone(),
        }
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Fault> {
        row::decode("a parked event", value)
    }
}

/// The cursors of one list.
///
/// Invariants: `head <= tail`; the events have sequences from `head` to before `tail`, and `count` counts
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    head: u64,
    tail: u64,
    count: u64,
}

/// The parked lists of all subscriptions that ever parked an event.
///
/// Invariant: between two batches the rows are as the lists are, and nothing is touched.
#[derive(Debug, Default)]
pub(crate) struct ParkedLists {
    lists: BTreeMap<SubscriptionId, List>,
    touched: BTreeSet<SubscriptionId>,
}

impl ParkedLists {
    pub(crate) fn open<T: Tables>(tables: &T) -> Result<Self, Fault> {
        Ok(Self {
            lists: read_lists(tables)?,
            touched: BTreeSet::new(),
        })
    }

    /// Whether all of `parks` fit into their lists.
    pub(crate) fn room(&self, parks: &[Park]) -> Result<(), Refusal> {
        let mut more = BTreeMap::<_, u64>::new();
        for park in parks {
            let more = more.entry(park.subscription).or_default();
            *more += 1;
            if self.count(park.subscription) + *more > limit::PARKED_EVENTS_MAX {
                return Err(Refusal::ParkedFull);
            }
        }
        Ok(())
    }

    /// How many events a list holds.
    pub(crate) fn count(&self, subscription: SubscriptionId) -> u64 {
        self.lists.get(&subscription).map_or(0, |list| list.count)
    }

    /// Parks an event at the end of its list. The reference to the payload is the caller's to count.
    pub(crate) fn park<T: Tables>(
        &mut self,
        tables: &mut T,
        at: Timestamp,
        park: &Park,
        payload: PayloadRef,
    ) {
        let list = self.lists.entry(park.subscription).or_insert(List {
            head: 1,
            tail: 1,
            count: 0,
        });
        let key = keys::parked(park.subscription, list.tail);
        tables.insert(&key, row::encode(&Parked::new(park, payload, at)));
        list.tail += 1;
        list.count += 1;
        self.touched.insert(park.subscription);
    }

    /// A parked event, if it is there.
    pub(crate) fn get<T: Tables>(
        &self,
        tables: &T,
        subscription: SubscriptionId,
        sequence: u64,
    ) -> Result<Option<Parked>, Fault> {
        let list = self.lists.get(&subscription);
        if list.is_none_or(|list| !(list.head..list.tail).contains(&sequence)) {
            return Ok(None);
        }
        let value = tables.get(&keys::parked(subscription, sequence))?;
        value.as_deref().map(Parked::decode).transpose()
    }

    /// Takes an event out of its list. The reference to the payload is the caller's to drop.
    pub(crate) fn remove<T: Tables>(
        &mut self,
        tables: &mut T,
        subscription: SubscriptionId,
        sequence: u64,
    ) {
        tables.remove(&keys::parked(subscription, sequence));
        let list = self.lists.get_mut(&subscription);
        let list = list.expect("an event is removed from the list that holds it");
        assert!(list.count > 0, "a list counts its events");
        list.count -= 1;
        self.touched.insert(subscription);
    }

    /// Deletes a list: where its rows are to be swept.
    pub(crate) fn delete<T: Tables>(
        &mut self,
        tables: &mut T,
        subscription: SubscriptionId,
    ) -> Option<Range<u64>> {
        let list = self.lists.remove(&subscription)?;
        self.touched.remove(&subscription);
        tables.remove(&keys::numbered(keys::PARKED_LIST, subscription.0));
        Some(list.head..list.tail)
    }

    /// Moves a list's head to its first event, so that nobody walks over what was removed.
    pub(crate) fn advance<T: Tables>(
        &mut self,
        tables: &T,
        subscription: SubscriptionId,
    ) -> Result<(), Fault> {
        let Some(list) = self.lists.get_mut(&subscription) else {
            return Ok(());
        };
        let from = keys::parked(subscription, list.head);
        let until = keys::parked(subscription, list.tail);
        let first = tables.scan(&from, &until, 1)?;
        list.head = match first.first() {
            Some((key, _)) => keys::sequence(key).ok_or_else(|| damaged("a parked event"))?,
            None => list.tail,
        };
        self.touched.insert(subscription);
        Ok(())
    }

    /// Ends a batch: writes what it touched.
    pub(crate) fn finish<T: Tables>(&mut self, tables: &mut T) {
        for subscription in std::mem::take(&mut self.touched) {
            let key = keys::numbered(keys::PARKED_LIST, subscription.0);
            tables.put(&key, row::encode(&self.lists[&subscription]));
        }
    }

    /// Parked events of a subscription behind `after`, oldest first.
    pub(crate) fn page<T: Tables>(
        &self,
        tables: &T,
        subscription: SubscriptionId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>, Fault> {
        let Some(list) = self.lists.get(&subscription) else {
            return Ok(Vec::new());
        };
        let from = after
            .map_or(0, |after| after.saturating_add(1))
            .max(list.head);
        let from = keys::parked(subscription, from);
        let until = keys::parked(subscription, list.tail);
        let rows = if from < until {
            tables.scan(&from, &until, limit)?
        } else {
            Vec::new()
        };
        rows.iter().map(|(key, value)| shown(key, value)).collect()
    }

    /// What does not hold of the rows.
    pub(crate) fn audit<T: Tables>(
        &self,
        tables: &T,
        violations: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let rows = read_lists(tables)?;
        if rows != self.lists {
            violations.push(format!(
                "parked lists are {:?}, their rows {rows:?}",
                self.lists
            ));
        }
        for (subscription, list) in &self.lists {
            let mut count = 0;
            let from = keys::parked(*subscription, list.head);
            let until = keys::parked(*subscription, u64::MAX);
            each_row(tables, &from, &until, |key, value| {
                shown(key, value)?;
                count += 1;
                if keys::sequence(key).is_none_or(|sequence| sequence >= list.tail) {
                    violations.push(format!("a parked event of {subscription} is past the tail"));
                }
                Ok(())
            })?;
            if count != list.count {
                let counted = list.count;
                violations.push(format!("list {subscription} counts {counted}, has {count}"));
            }
        }
        Ok(())
    }

    /// Where the events of a list are.
    pub(crate) fn extent(&self, subscription: SubscriptionId) -> Option<Range<u64>> {
        self.lists
            .get(&subscription)
            .map(|list| list.head..list.tail)
    }
}

fn read_lists<T: Tables>(tables: &T) -> Result<BTreeMap<SubscriptionId, List>, Fault> {
    let mut lists = BTreeMap::new();
    let (from, until) = keys::all(keys::PARKED_LIST);
    each_row(tables, &from, &until, |key, value| {
        let id = keys::number(key).ok_or_else(|| damaged("a parked list"))?;
        lists.insert(SubscriptionId(id), row::decode("a parked list", value)?);
        Ok(())
    })?;
    Ok(lists)
}

fn shown(key: &[u8], value: &[u8]) -> Result<ParkedEvent, Fault> {
    let parked = Parked::decode(value)?;
    Ok(ParkedEvent {
        sequence: keys::sequence(key).ok_or_else(|| damaged("a parked event"))?,
        parked_at: parked.parked_at,
        code: parked.code,
        detail: parked.detail,
        plugin: parked.plugin,
        payload: parked.payload,
    })
}
