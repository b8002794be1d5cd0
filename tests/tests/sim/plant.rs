//! Broken promises on demand: a checker that finds nothing proves nothing.

use crate::scene::{Phase, Scene};

/// What is done once, some time after the load has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An acknowledged event is gone, and nobody has got it.
    Lost,
    /// An acked entry stays in its queue.
    Back,
    /// Something comes that nobody has published.
    Ghost,
    /// A byte is another one.
    Byte,
    /// A batch takes effect twice.
    Batch,
    /// A plugin ran twice: the plan has all its deliveries twice.
    Plan,
    /// A byte of what a plugin made is another one.
    Body,
    /// A dead letter stays in the queue that it came from.
    Copy,
    /// One lease is given twice.
    Lease,
    /// An entry is received more often than it may be.
    Often,
    /// A retry with the same key is answered with something else.
    Answer,
    /// A catalog is shown that is older than a confirmed one.
    Catalog,
    /// What the group that a queue leaves knows of a key is not heeded.
    Keys,
    /// A move is said to be over before the queue has come: its keys are gone, or its entries.
    End,
    /// An entry overtakes another one.
    Order,
    /// An entry gets another number on its way.
    Number,
}

impl Plant {
    /// By the name that is given on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Lost,
            Self::Back,
            Self::Ghost,
            Self::Byte,
            Self::Batch,
            Self::Plan,
            Self::Body,
            Self::Copy,
            Self::Lease,
            Self::Often,
            Self::Answer,
            Self::Catalog,
            Self::Keys,
            Self::End,
            Self::Order,
            Self::Number,
        ];
        all.into_iter()
            .find(|plant| format!("{plant:?}").to_lowercase() == name)
    }
}

impl Scene {
    /// Whether `plant` is to be done now: true once at most.
    pub(crate) fn is_planted(&self, plant: Plant) -> bool {
        /// Something is there by then.
        const FROM_MS: u64 = 5_000;
        let now = self.phase.get() == Phase::Load && self.now_ms.get() >= FROM_MS;
        let done = now && self.plant.get() == Some(plant);
        if done {
            self.plant.set(None);
            self.tell(format!("planted: {plant:?}"));
        }
        done
    }
}
