//! [`Caller`]: one client of a load, and where it knocks.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::client::{Answer, Client};

/// Longest wait for an answer, a long poll of a second included. A node may be stopped with a request in its hands.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Wait before the next door is tried.
const NEXT_DOOR_AFTER: Duration = Duration::from_millis(20);

/// A client that goes on at the next door when one does not answer.
#[derive(Debug)]
pub(super) struct Caller {
    shared: Arc<Shared>,
    door: usize,
}

impl Caller {
    /// One that begins at the door of this number.
    pub(super) fn new(shared: Arc<Shared>, door: usize) -> Self {
        Self { shared, door }
    }

    /// POST; `None` when the outcome is unknown or the node is away: the next call goes to another door then, if there is one.
    pub(super) fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        self.call("POST", path, headers, Some(body))
    }

    /// As [`Caller::post`], with any method.
    pub(super) fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Option<Answer> {
        let url = {
            let doors = self.shared.doors.read().expect("no client panicked");
            doors[self.door % doors.len()].clone()
        };
        let answer = ask(&url, ANSWER_MAX, method, path, headers, body);
        if answer.is_none() {
            self.door += 1;
            std::thread::sleep(NEXT_DOOR_AFTER);
        }
        answer
    }
}

/// A request to one door; `None` when the outcome is unknown or the node is away.
///
/// # Panics
/// When the broker refuses: nothing that this load sends is wrong.
pub(super) fn ask(
    url: &str,
    most: Duration,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Option<Answer> {
    let client = Client::patient(url, most);
    let answer = client.call(method, path, headers, body).ok()?;
    match answer.status {
        200 => Some(answer),
        429 | 503 | 504 | 507 => None,
        _ => panic!("{method} {url}{path}: {}: {}", answer.status, answer.text()),
    }
}
