//! The list of a cluster's first members.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Members of a cluster with their peer addresses, written `1=HOST:PORT,2=HOST:PORT`.
///
/// Each node number stands once, is at least 1, and each address has a port; the empty text is the empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Members(BTreeMap<u64, String>);

impl Members {
    /// The members with their addresses.
    pub(crate) fn addresses(&self) -> &BTreeMap<u64, String> {
        &self.0
    }

    /// Whether none is named: a node alone.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this node is among them.
    pub(crate) fn contains(&self, node: u64) -> bool {
        self.0.contains_key(&node)
    }
}

impl FromStr for Members {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut members = BTreeMap::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (node, address) = member(part)?;
            if members.insert(node, address).is_some() {
                return Err(format!("node {node} is named twice"));
            }
        }
        Ok(Self(members))
    }
}

/// One member, written `N=HOST:PORT`.
///
/// # Errors
/// A sentence when it is none.
pub(crate) fn member(part: &str) -> Result<(u64, String), String> {
    let wrong = || format!("`{part}` is not N=HOST:PORT");
    let (node, address) = part.split_once('=').ok_or_else(wrong)?;
    let node: u64 = node.trim().parse().map_err(|_| wrong())?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    if node == 0 || host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok((node, address.to_owned()))
}

impl TryFrom<String> for Members {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Members> for String {
    fn from(members: Members) -> Self {
        members.to_string()
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(node, address)| format!("{node}={address}"))
            .collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_in_the_order_of_nodes() {
        let members: Members = "2=b:2, 1=[::1]:1".parse().expect("valid");
        assert_eq!(members.to_string(), "1=[::1]:1,2=b:2");
        assert_eq!("".parse::<Members>().map(|m| m.is_empty()), Ok(true));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "a:1",
            "0=a:1",
            "x=a:1",
            "1=a",
            "1=:1",
            "1=a:b",
            "1=a:1,1=b:1",
        ] {
            assert!(text.parse::<Members>().is_err(), "{text}");
        }
    }
}
