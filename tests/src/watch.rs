//! [`Watch`]: looks on, while a cluster is mistreated, that no term ever has two leaders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{GroupView, view};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Asks all nodes again and again who leads, until it is ended.
#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<Vec<GroupView>>>,
}

impl Watch {
    /// Begins to watch the nodes at these URLs, each on a thread of its own: one that does not answer hides no other.
    #[must_use]
    pub fn start(urls: &[String]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let watchers = urls.iter().map(|url| {
            let (url, is_over) = (url.clone(), is_over.clone());
            std::thread::spawn(move || watch(&url, &is_over))
        });
        Self {
            watchers: watchers.collect(),
            is_over,
        }
    }

    /// Ends it: how many terms of all groups had a leader.
    ///
    /// # Panics
    /// When two nodes were leaders of one group in one term.
    pub fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        let mut leaders = BTreeMap::new();
        for watcher in self.watchers {
            for view in watcher.join().expect("a watcher looks only") {
                let Some(leader) = view.leader else { continue };
                let first = *leaders.entry((view.group, view.term)).or_insert(leader);
                assert!(
                    first == leader,
                    "group {} has two leaders in term {}: {first} and {leader}",
                    view.group,
                    view.term
                );
            }
        }
        leaders.len()
    }
}

/// Every view of a node that differs from the one before in leader or term.
fn watch(url: &str, is_over: &AtomicBool) -> Vec<GroupView> {
    let mut seen: Vec<GroupView> = Vec::new();
    let mut last = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        for view in view(url).unwrap_or_default() {
            let now = (view.term, view.leader);
            if last.insert(view.group, now) != Some(now) {
                seen.push(view);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    seen
}
