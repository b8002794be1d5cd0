//! Plugins that are none, or mean harm; and versions, which never change.

use std::time::{Duration, Instant};

use millrace_tests::{Broker, Client};
use serde_json::json;

use crate::scene::{drain, publish, queue, shipped, subscribe, topic, upload, upload_version};

/// The broker refuses the component as invalid, and goes on.
#[track_caller]
fn refused(client: &Client, component: &[u8]) {
    upload(client, "hostile", component).refused(422, "invalid_component");
    client
        .get("/v1/plugins/hostile")
        .refused(404, "plugin_not_found");
    client.get("/readyz").expect(200);
}

fn text(component: &str) -> Vec<u8> {
    wat::parse_str(component).expect("right text")
}

#[test]
fn what_is_no_plugin_is_refused() {
    let broker = Broker::start();
    let client = broker.client();
    refused(&client, b"");
    refused(&client, b"not wasm at all");
    refused(&client, b"\0asm");
    refused(&client, &text("(module)"));
    refused(&client, &text("(component)"));
    let whole = shipped("content-router");
    refused(&client, &whole[..whole.len() / 2]);
    refused(&client, &whole[..whole.len() - 1]);
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    refused(&client, &damaged);
}

#[test]
fn imports_that_are_not_given_are_refused_by_name() {
    let broker = Broker::start();
    let client = broker.client();
    let component = text(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance
                (export "get-arguments" (func (result (list string)))))))"#,
    );
    let problem = upload(&client, "hostile", &component).refused(422, "invalid_component");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("wasi:cli/environment"), "{detail}");
}

#[test]
fn a_component_that_loops_or_grows_in_its_start_is_refused_in_time() {
    let broker = Broker::start();
    let client = broker.client();
    for start in [
        "(loop (br 0))",
        "(loop (drop (memory.grow (i32.const 1000))) (br 0))",
        "unreachable",
    ] {
        let component = text(&format!(
            "(component
                (core module $m (memory 1) (func $f {start}) (start $f))
                (core instance (instantiate $m)))"
        ));
        let began = Instant::now();
        refused(&client, &component);
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{start}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn a_component_of_a_hundred_megabytes_is_refused_and_takes_no_memory() {
    let broker = Broker::start();
    let client = broker.client();
    let huge = vec![0; 100 * 1024 * 1024];
    upload(&client, "huge", &huge).refused(413, "component_too_large");
    client.get("/readyz").expect(200);
}

#[test]
fn a_version_never_changes() {
    let broker = Broker::start();
    let client = broker.client();
    let router = shipped("content-router");
    let created = upload(&client, "p", &router).with(201).json();
    assert_eq!(created["world"], "router", "{created}");
    let fields = [
        "name",
        "version",
        "digest",
        "imports",
        "description",
        "config_schema",
        "destinations",
    ];
    for field in fields {
        assert!(!created[field].is_null(), "no {field}: {created}");
    }
    assert_eq!(upload(&client, "p", &router).with(200).json(), created);
    upload(&client, "p", &shipped("field-redactor")).refused(409, "already_exists");
    upload_version(&client, "p", "2.0.0", &shipped("field-redactor")).expect(201);
    let path = "/v1/plugins/p/versions/1.0.0";
    assert_eq!(
        client.get(path).with(200).json()["digest"],
        created["digest"]
    );
    let bytes = client.get(&format!("{path}?format=wasm")).with(200);
    assert_eq!(bytes.header("content-type"), Some("application/wasm"));
    assert!(bytes.body == router, "the bytes as they were uploaded");
    client.get("/v1/plugins/p").expect(200);
    assert_eq!(
        client.get("/v1/plugins").with(200).json()["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_version_in_use_stays_until_nobody_uses_it() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    upload(&client, "p", &shipped("content-router")).expect(201);
    let plugin = json!({"name": "p", "version": "1.0.0", "config": {"rules": [{"to": ["q"]}]}});
    let to = json!({"destinations": {"q": {"queue": "q"}}});
    subscribe(&client, "t", "s", &json!({"plugin": plugin, "to": to}));
    client
        .delete("/v1/plugins/p/versions/1.0.0")
        .refused(409, "in_use");
    client.delete("/v1/topics/t/subscriptions/s").expect(204);
    client.delete("/v1/plugins/p/versions/1.0.0").expect(204);
    client
        .get("/v1/plugins/p/versions/1.0.0")
        .refused(404, "plugin_not_found");
}

#[test]
fn a_wrong_configuration_is_refused_with_pointers_into_it() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    upload(&client, "p", &shipped("content-router")).expect(201);
    let bind = |config: serde_json::Value| {
        let plugin = json!({"name": "p", "version": "1.0.0", "config": config});
        let to = json!({"destinations": {"q": {"queue": "q"}}});
        client.put(
            "/v1/topics/t/subscriptions/s",
            &json!({"plugin": plugin, "to": to}),
        )
    };
    // By the schema that the plugin declares.
    let answer = bind(json!({"rules": [{"to": "q"}]}));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(
        answer.json()["errors"][0]["pointer"],
        "/plugin/config/rules/0/to",
        "{}",
        answer.text()
    );
    client
        .get("/v1/topics/t/subscriptions/s")
        .refused(404, "subscription_not_found");
    bind(json!({"rules": [{"to": ["q"]}]})).expect(201);
    publish(&client, "t", &json!(1));
    assert_eq!(drain(&client, "q"), [json!(1)]);
}

#[test]
fn a_destination_that_is_not_declared_is_refused_with_a_pointer() {
    let broker = Broker::start();
    let client = broker.client();
    topic(&client, "t");
    queue(&client, "q");
    upload(&client, "p", &shipped("content-router")).expect(201);
    let config = json!({"rules": [{"to": ["nowhere"]}]});
    let plugin = json!({"name": "p", "version": "1.0.0", "config": config});
    let to = json!({"destinations": {"q": {"queue": "q"}}});
    let body = json!({"plugin": plugin, "to": to});
    let answer = client.put("/v1/topics/t/subscriptions/s", &body);
    let problem = answer.refused(422, "plugin_refused_config");
    assert_eq!(
        problem["errors"][0]["pointer"], "/plugin/config/rules/0/to/0",
        "{problem}"
    );
}
