//! `millrace cluster move`: a queue moves to another data group.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::Method;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{Output, output};
use crate::client::{Client, Payload, Route};

/// How often a queue that moves is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Moves a queue and waits until it is there, for at most `wait` seconds; 0 does not wait.
pub(super) async fn run(
    client: &mut Client,
    out: Output,
    queue: &str,
    group: u32,
    wait: u64,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(wait);
    let bar = output::progress(0, "entries", "moving");
    let answer = follow(client, (queue, group), deadline, &bar).await;
    bar.finish_and_clear();
    let answer = answer?;
    if answer["is_moving"] == true && wait > 0 {
        bail!(
            "queue {queue} is still on its way to group {group}; the same command waits for it again"
        );
    }
    let sentence = match &answer["is_moving"] {
        Value::Bool(true) => format!("queue {queue} is on its way to group {group}"),
        _ => format!("queue {queue} is in group {group}"),
    };
    out.done(&sentence, &answer)
}

/// Asks for the move again and again until it is over, or `deadline` has come; the last answer. Once it was begun, a node
/// that cannot answer for a moment does not end the wait.
async fn follow(
    client: &mut Client,
    (queue, group): (&str, u32),
    deadline: Instant,
    bar: &ProgressBar,
) -> Result<Value> {
    let body = json!({ "queue": queue, "group": group });
    let (mut most, mut last) = (0, None);
    loop {
        match ask(client, &body).await {
            Ok(answer) => {
                if let Some(left) = answer["entries_left"].as_u64() {
                    most = most.max(left);
                    bar.set_length(most);
                    bar.set_position(most - left);
                }
                if answer["is_moving"] != true || Instant::now() >= deadline {
                    return Ok(answer);
                }
                last = Some(answer);
            }
            Err(error) if last.is_none() || Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn ask(client: &mut Client, body: &Value) -> Result<Value> {
    let headers = [("content-type", "application/json")];
    let route = Route::of(["v1", "cluster", "move"]);
    let body = Payload::json(body);
    let answer = client.send(Method::POST, route, &headers, body).await?;
    answer.json()
}

#[cfg(test)]
mod tests {
    use super::super::OutputForm;
    use super::*;
    use crate::client::scripted::{Scripted, reply};

    const GOING: &str = r#"{"queue":"work","group":2,"is_moving":true,"from":1,"queues":["work"],"entries_left":7}"#;
    const THERE: &str = r#"{"queue":"work","group":2,"is_moving":false,"entries_left":0}"#;
    const AWAY: &str = r#"{"code":"no_quorum","detail":"no majority of the group can be reached"}"#;

    async fn moved(replies: &[(u16, &str)], wait: u64) -> (Result<()>, usize) {
        let replies = replies.iter().map(|(status, body)| reply(*status, body));
        let server = Scripted::start(replies.collect()).await;
        let mut client = Client::new(&server.url).expect("a URL");
        let out = Output::new(OutputForm::Json);
        let result = run(&mut client, out, "work", 2, wait).await;
        (result, server.requests().len())
    }

    #[tokio::test]
    async fn the_move_is_waited_for_through_a_moment_without_a_majority() {
        let (result, asked) = moved(&[(202, GOING), (503, AWAY), (200, THERE)], 60).await;
        result.expect("it is there");
        assert_eq!(asked, 3);
    }

    #[tokio::test]
    async fn what_cannot_begin_and_what_does_not_end_is_told() {
        let (result, _) = moved(&[(503, AWAY)], 60).await;
        let error = format!("{:#}", result.expect_err("it did not begin"));
        assert!(error.contains("no_quorum"), "{error}");
        let (result, asked) = moved(&[(202, GOING)], 0).await;
        result.expect("nobody waits");
        assert_eq!(asked, 1);
    }
}
