//! The peer port: how nodes talk to each other.
//!
//! ```text
//! hello       who is there; strangers, other clusters and replaced disks are turned away (`hello`, `standing`)
//! frame       what goes over a connection (`frame`); what the messages say (`message`)
//! connection  requests out, answers in (`connection`); four of them to each peer (`peers`), so that no vote waits
//!             behind a snapshot
//! network     the four as openraft wants them (`network`, `snapshot`)
//! door        the side that listens (`door`)
//! ```

pub(crate) mod connection;
pub(crate) mod door;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod peers;
pub(crate) mod snapshot;
pub(crate) mod standing;
