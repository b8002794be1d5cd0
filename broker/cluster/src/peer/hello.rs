//! The first frames of a connection: who is there, and whether they may talk.
//!
//! The hello begins with bytes that never change (magic and versions), so that a newer or a foreign peer gets an answer
//! that it can read.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::frame::{self, HELLO_BYTES_MAX, Kind, Outgoing};
use crate::simulated::net::TcpStream;
use crate::types::{ClusterId, Incarnation};

/// Begins every hello.
const MAGIC: [u8; 8] = *b"MILLRACE";

/// Versions of the protocol that this broker speaks, from oldest to newest.
const VERSIONS: (u16, u16) = (1, 1);

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
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) node: u64,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: Option<ClusterId>,
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
    body.put_u16_le(VERSIONS.0);
    body.put_u16_le(VERSIONS.1);
    let rest = postcard::to_stdvec(hello).expect("a hello has a binary form");
    body.put_slice(&rest);
    body.freeze()
}

/// Reads a hello.
///
/// # Errors
/// [`Refused`] for another protocol, another version, or nonsense.
pub(crate) fn decode_hello(body: &[u8]) -> Result<Hello, Refused> {
    let speaks = body.strip_prefix(&MAGIC).filter(|rest| rest.len() >= 4);
    let Some(mut rest) = speaks else {
        return Err(Refused::new("this is the peer port of a millrace node"));
    };
    let (oldest, newest) = (rest.get_u16_le(), rest.get_u16_le());
    if oldest > VERSIONS.1 || newest < VERSIONS.0 {
        let reason = format!(
            "this broker speaks versions {} to {} between nodes, the peer {oldest} to {newest}: upgrade in smaller steps",
            VERSIONS.0, VERSIONS.1
        );
        return Err(Refused::new(reason));
    }
    postcard::from_bytes(rest).map_err(|error| Refused::new(format!("no hello: {error}")))
}

/// The answer to a hello, as a frame.
pub(crate) fn answer(admitted: &Result<Welcome, Refused>) -> Outgoing {
    let (kind, body) = match admitted {
        Ok(welcome) => (Kind::Welcome, postcard::to_stdvec(welcome)),
        Err(refused) => (Kind::Refused, postcard::to_stdvec(refused)),
    };
    Outgoing::new(kind, 0, body.expect("answers have a binary form"))
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
            let welcome = postcard::from_bytes(&frame.body).map_err(nonsense)?;
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

    #[test]
    fn strangers_and_other_versions_are_told_so() {
        let hello = Hello {
            from: 1,
            incarnation: Incarnation::new(),
            to: 2,
            to_incarnation: None,
            cluster: None,
            purpose: Purpose::Greeting,
            list: BTreeMap::from([(1, "a:1".to_owned())]),
            data_groups: 1,
        };
        let body = encode_hello(&hello);
        assert_eq!(decode_hello(&body), Ok(hello));
        let said = |body: &[u8]| decode_hello(body).expect_err("refused").reason;
        assert!(said(b"GET / HTTP/1.1\r\n\r\n").contains("peer port"));
        assert!(said(b"MILLRACE").contains("peer port"));
        let mut newer = body.to_vec();
        newer[8..12].copy_from_slice(&[9, 0, 12, 0]);
        assert!(said(&newer).contains("9 to 12"));
        for cut in 12..body.len() {
            assert!(decode_hello(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
