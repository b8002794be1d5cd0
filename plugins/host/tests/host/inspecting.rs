//! What becomes of an upload.

use millrace_model::Router;
use millrace_model::plugin::World as Purpose;
use millrace_model::router::InvalidComponent;
use millrace_plugin_host::Limits;

use crate::support::{World, fixture, guest};

async fn refusal(component: Vec<u8>) -> String {
    match World::new().host.inspect(component.into()).await {
        Err(InvalidComponent::Invalid(why)) => why,
        other => panic!("must be refused as invalid: {other:?}"),
    }
}

#[tokio::test]
async fn a_component_says_what_it_is() {
    let inspection = World::new()
        .host
        .inspect(fixture("moody").into())
        .await
        .unwrap();
    assert_eq!(
        (inspection.name.as_str(), inspection.version.as_str()),
        ("moody", "1.0.0")
    );
    assert_eq!(inspection.description.world, Purpose::Router);
    assert_eq!(inspection.description.description, "Misbehaves as told.");
    assert_eq!(
        inspection.description.imports,
        ["millrace:plugin/log@0.1.0"]
    );
    assert!(
        inspection.digest.starts_with("sha256:") && inspection.digest.len() == 71,
        "{}",
        inspection.digest
    );
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_a_reason() {
    let cases = [
        (fixture("core_module"), "core module"),
        (
            fixture("wasi"),
            "imports wasi:cli/environment@0.2.0, which a plugin may not have",
        ),
        (fixture("no_world"), "exports no function describe"),
        (fixture("loop_in_start"), "than it may"),
        (fixture("loop_in_describe"), "than it may"),
        (fixture("trap_in_describe"), "unreachable"),
        (fixture("out_of_bounds"), "does not describe itself"),
        (fixture("bad_name"), "its name is not good"),
        (
            fixture("bad_schema"),
            "its configuration schema is not JSON",
        ),
        (fixture("huge_schema"), "larger than 65536 bytes"),
        (fixture("greedy_memory"), "memory"),
        (fixture("many_tables"), "table"),
        (fixture("wrong_type"), "does not describe itself"),
        (b"".to_vec(), "not a WebAssembly component"),
        (b"hello, world".to_vec(), "not a WebAssembly component"),
        (b"(component)".to_vec(), "not a WebAssembly component"),
    ];
    for (component, reason) in cases {
        let why = refusal(component).await;
        assert!(why.contains(reason), "{why:?} must say {reason:?}");
    }
}

#[tokio::test]
async fn every_truncation_is_refused() {
    let whole = fixture("moody");
    let world = World::new();
    for length in (0..whole.len()).step_by(97) {
        let cut = whole[..length].to_vec();
        let refused = world.host.inspect(cut.into()).await;
        assert!(
            matches!(refused, Err(InvalidComponent::Invalid(_))),
            "{length} bytes: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_never_panics() {
    let whole = fixture("moody");
    let world = World::new();
    for at in (8..whole.len()).step_by(41) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Either it is refused or it is still a plugin; both are fine.
        let _ = world.host.inspect(damaged.into()).await;
    }
    assert!(
        world.host.inspect(whole.into()).await.is_ok(),
        "the host serves on"
    );
}

#[tokio::test]
async fn a_component_over_the_limit_is_not_even_read() {
    let world = World::new();
    let limit = Limits::default().component_bytes_max as u64;
    let refused = world.host.inspect(vec![0; 100 << 20].into()).await;
    assert_eq!(
        refused,
        Err(InvalidComponent::TooLarge {
            bytes: 100 << 20,
            limit
        })
    );
}

#[tokio::test]
async fn loops_in_describe_do_not_hold_up_the_thread() {
    let world = World::new();
    let looping = world.host.inspect(fixture("loop_in_describe").into());
    let mut ticks = 0;
    let counting = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            ticks += 1;
        }
    };
    tokio::select! { refused = looping => assert!(refused.is_err()), () = counting => {} }
    assert!(
        ticks >= 20,
        "others ran only {ticks} times in a second of looping"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_at_once_are_compiled_in_turn_or_told_to_come_back() {
    let world = World::with(Limits {
        compile_waiting_max: 1,
        instances_max: 32,
        ..Limits::default()
    });
    let guest = guest("content-router");
    let uploads = (0..8_u8).map(|at| {
        let host = std::sync::Arc::clone(&world.host);
        // A custom section at the end makes each upload another component.
        let mut component = guest.clone();
        component.extend_from_slice(&[0, 2, 1, b'a' + at]);
        tokio::spawn(async move { host.inspect(component.into()).await })
    });
    let mut outcomes = Vec::new();
    for upload in uploads.collect::<Vec<_>>() {
        outcomes.push(upload.await.unwrap());
    }
    let busy = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(InvalidComponent::Overloaded)))
        .count();
    let good = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(
        good >= 2 && good + busy == 8,
        "{good} compiled, {busy} told to come back"
    );
}
