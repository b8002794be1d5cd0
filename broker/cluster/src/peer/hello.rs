//! The first frames of a connection: who is there, and whether they may talk.
//!
//! The hello begins with bytes that never change (magic and versions), so that a newer or a foreign peer gets an answer
//! that it can read. What later versions add follows behind what was there before, and older ones read over it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_model::FormatVersion;
use serde::{Deserialize, Serialize};

use super::frame::{self, HELLO_BYTES_MAX, Kind, Outgoing};
use crate::simulated::net::TcpStream;
use crate::types::{ClusterId, Incarnation};
use crate::version::Versions;

/// Begins every hello.
const MAGIC: [u8; 8] = *b"MILLRACE";

/// How long both sides may take to know each other.
pub(crate) const HELLO_MAX: Duration = Duration::from_secs(2);

/// Longest sentence of a refusal that is shown, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// What a connection is for. Each has its own, so that none waits behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Heartbeats, votes, transfers: small, and never late.
    Control,
    /// Entries of the log.
    Entries,
    /// Snapshots.
    Snapshots,
    /// Requests of clients.
    Requests,
    /// To learn who is there: before there is a cluster, and before a node is added.
    Greeting,
}

/// Who connects, and to whom it thinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) from: u64,
    pub(crate) incarnation: Incarnation,
    pub(crate) to: u64,
    /// Which data the other node is known with; `None` when that is not known.
    pub(crate) to_incarnation: Option<Incarnation>,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) purpose: Purpose,
    /// Before there is a cluster: the first members as this node was told, and how many data groups.
    pub(crate) list: BTreeMap<u64, String>,
    pub(crate) data_groups: u32,
    /// What its broker supports.
    #[serde(skip)]
    pub(crate) versions: Versions,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) node: u64,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: Option<ClusterId>,
    /// What its broker supports.
    #[serde(skip)]
    pub(crate) versions: Versions,
}

/// Why two nodes do not talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refused {
    /// A sentence for the log of the other side.
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { reason }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    /// Nobody answers, or not as a peer does.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer said no.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// It is not the node that was looked for.
    #[error("{0}")]
    Other(String),
}

fn encode_hello(hello: &Hello) -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(&MAGIC);
    body.put_u16_le(hello.versions.oldest().0);
    body.put_u16_le(hello.versions.max.0);
    let rest = postcard::to_stdvec(hello).expect("a hello has a binary form");
    body.put_slice(&rest);
    body.put_slice(&more(&hello.versions));
    body.freeze()
}

/// What follows a hello or a welcome: nothing from a node of version 1.
fn more(versions: &Versions) -> Vec<u8> {
    if versions.max == FormatVersion::MIN {
        return Vec::new();
    }
    postcard::to_stdvec(versions).expect("numbers have a binary form")
}

/// Inverse of [`more`].
fn open_more(rest: &[u8]) -> postcard::Result<Versions> {
    match rest {
        [] => Ok(Versions::default()),
        rest => postcard::from_bytes(rest),
    }
}

/// Reads a hello that came to a node with these versions.
///
/// # Errors
/// [`Refused`] for another protocol, other versions, or nonsense.
pub(crate) fn decode_hello(body: &[u8], own: &Versions) -> Result<Hello, Refused> {
    let speaks = body.strip_prefix(&MAGIC).filter(|rest| rest.len() >= 4);
    let Some(mut rest) = speaks else {
        return Err(Refused::new("this is the peer port of a millrace node"));
    };
    let (oldest, newest) = (rest.get_u16_le(), rest.get_u16_le());
    check_versions(FormatVersion(oldest), FormatVersion(newest), own)?;
    let read = postcard::take_from_bytes::<Hello>(rest)
        .and_then(|(hello, rest)| Ok((hello, open_more(rest)?)));
    let nonsense = |error| Refused::new(format!("no hello: {error}"));
    let (hello, versions) = read.map_err(nonsense)?;
    Ok(Hello { versions, ..hello })
}

/// Whether a peer that speaks these versions can talk to a node with those of its own.
fn check_versions(
    oldest: FormatVersion,
    newest: FormatVersion,
    own: &Versions,
) -> Result<(), Refused> {
    if newest < own.oldest() {
        let reason = format!(
            "the cluster has format version {}, the peer supports up to {newest}: start the newer broker there",
            own.oldest()
        );
        return Err(Refused::new(reason));
    }
    if oldest > own.max {
        let reason = format!(
            "this node supports formats up to {}, the peer speaks {oldest} to {newest}: start the newer broker here",
            own.max
        );
        return Err(Refused::new(reason));
    }
    Ok(())
}

/// The answer to a hello, as a frame.
pub(crate) fn answer(admitted: &Result<Welcome, Refused>) -> Outgoing {
    let (kind, body, more) = match admitted {
        Ok(welcome) => (
            Kind::Welcome,
            postcard::to_stdvec(welcome),
            more(&welcome.versions),
        ),
        Err(refused) => (Kind::Refused, postcard::to_stdvec(refused), Vec::new()),
    };
    let body = body.expect("answers have a binary form");
    Outgoing::new(kind, 0, [body, more].concat())
}

/// Connects to `address` and says hello.
///
/// # Errors
/// [`NoConnection`], within [`HELLO_MAX`].
pub(crate) async fn greet(
    address: &str,
    hello: &Hello,
) -> Result<(TcpStream, Welcome), NoConnection> {
    let greeted = tokio::time::timeout(HELLO_MAX, exchange(address, hello)).await;
    greeted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

async fn exchange(address: &str, hello: &Hello) -> Result<(TcpStream, Welcome), NoConnection> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    frame::write(
        &mut stream,
        Outgoing::new(Kind::Hello, 0, encode_hello(hello)),
    )
    .await?;
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let frame = frame::read(&mut stream, HELLO_BYTES_MAX)
        .await?
        .ok_or_else(ended)?;
    let nonsense =
        |error| io::Error::new(io::ErrorKind::InvalidData, format!("no answer: {error}"));
    match frame.kind {
        Kind::Welcome => {
            let welcome = open_welcome(&frame.body).map_err(nonsense)?;
            let welcome = expected(hello, welcome)?;
            Ok((stream, welcome))
        }
        Kind::Refused => {
            let mut refused: Refused = postcard::from_bytes(&frame.body).map_err(nonsense)?;
            let end = refused.reason.floor_char_boundary(REASON_BYTES_MAX);
            refused.reason.truncate(end);
            Err(refused.into())
        }
        other => Err(NoConnection::Other(format!(
            "a hello is answered with {other:?}"
        ))),
    }
}

fn open_welcome(body: &[u8]) -> postcard::Result<Welcome> {
    let (welcome, rest) = postcard::take_from_bytes::<Welcome>(body)?;
    let versions = open_more(rest)?;
    Ok(Welcome {
        versions,
        ..welcome
    })
}

/// The other side checks as well; this is for the one whose address leads elsewhere.
fn expected(hello: &Hello, welcome: Welcome) -> Result<Welcome, NoConnection> {
    if welcome.node != hello.to {
        let reason = format!("node {} answers, not node {}", welcome.node, hello.to);
        return Err(NoConnection::Other(reason));
    }
    match hello.to_incarnation {
        Some(known) if known != welcome.incarnation => Err(NoConnection::Other(replaced(hello.to))),
        _ => Ok(welcome),
    }
}

/// What is said of a node that came back with other data.
pub(crate) fn replaced(node: u64) -> String {
    format!(
        "node {node} is known with other data: its disk was replaced; remove it from the cluster (`millrace cluster remove {node}`) and add it again, best under a new number"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(max: u16, cluster: u16) -> Versions {
        Versions {
            max: FormatVersion(max),
            recorded: FormatVersion(cluster),
            cluster: FormatVersion(cluster),
            ..Versions::default()
        }
    }

    fn hello(versions: Versions) -> Hello {
        Hello {
            from: 1,
            incarnation: Incarnation::new(),
            to: 2,
            to_incarnation: None,
            cluster: None,
            purpose: Purpose::Greeting,
            list: BTreeMap::from([(1, "a:1".to_owned())]),
            data_groups: 1,
            versions,
        }
    }

    fn refused(body: &[u8], own: Versions) -> String {
        decode_hello(body, &own).expect_err("refused").reason
    }

    #[test]
    fn strangers_and_other_versions_are_told_so() {
        let (own, hello) = (versions(2, 1), hello(versions(2, 1)));
        let body = encode_hello(&hello);
        assert_eq!(decode_hello(&body, &own), Ok(hello));
        assert!(refused(b"GET / HTTP/1.1\r\n\r\n", own).contains("peer port"));
        assert!(refused(b"MILLRACE", own).contains("peer port"));
        let mut newer = body.to_vec();
        newer[8..12].copy_from_slice(&[9, 0, 12, 0]);
        assert!(refused(&newer, own).contains("9 to 12"));
        // Without what version 2 added it is a hello of version 1.
        let first = body.len() - more(&own).len();
        for cut in (12..body.len()).filter(|cut| *cut != first) {
            assert!(decode_hello(&body[..cut], &own).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn hello_and_welcome_of_the_first_version_are_what_they_were() {
        let first = Versions::default();
        let old = hello(first);
        let body = encode_hello(&old);
        let rest = postcard::to_stdvec(&old).expect("a form");
        assert_eq!(body, [&b"MILLRACE\x01\0\x01\0"[..], &rest].concat());
        assert_eq!(decode_hello(&body, &versions(2, 1)), Ok(old.clone()));
        // The other way round: a reader of the first version skips what it does not know.
        let new = encode_hello(&Hello {
            versions: versions(2, 1),
            ..old.clone()
        });
        assert_eq!(new[8..12], [1, 0, 2, 0]);
        let read: Hello = postcard::from_bytes(&new[12..]).expect("a hello");
        assert_eq!(read, old);
        let welcome = Welcome {
            node: 2,
            incarnation: old.incarnation,
            cluster: None,
            versions: versions(2, 1),
        };
        let frame = answer(&Ok(welcome.clone()));
        let read: Welcome = postcard::from_bytes(&frame.parts[0]).expect("a welcome");
        assert_eq!(read.versions, first);
        assert_eq!(open_welcome(&frame.parts[0]), Ok(welcome));
    }

    #[test]
    fn in_a_newer_cluster_both_sides_refuse_an_older_broker() {
        let old = encode_hello(&hello(Versions::default()));
        let said = refused(&old, versions(2, 2));
        assert!(
            said.contains("format version 2, the peer supports up to 1"),
            "{said}"
        );
        let new = encode_hello(&hello(versions(2, 2)));
        let said = refused(&new, Versions::default());
        assert!(said.contains("formats up to 1"), "{said}");
        assert!(said.contains("start the newer broker here"), "{said}");
        assert!(
            decode_hello(&new, &versions(2, 1)).is_ok(),
            "it is behind, and will follow"
        );
    }
}
