//! The served document.

use serde_json::Value;

use super::rig::Door;

#[tokio::test]
async fn the_document_is_openapi_3_1_with_every_reference_in_it() {
    let door = Door::new();
    let document = door.get("/openapi.json").await.expect(200).json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("inside the document");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                references.push(reference.clone());
            }
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_has_an_id_of_its_own_and_problems_of_one_form() {
    let door = Door::new();
    let document = door.get("/openapi.json").await.expect(200).json();
    let mut ids = std::collections::BTreeSet::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} is taken");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                if status.starts_with(['4', '5']) {
                    assert!(
                        response["content"]
                            .get("application/problem+json")
                            .is_some(),
                        "{id} {status}"
                    );
                }
            }
        }
    }
    assert_eq!(ids.len(), crate::routes::all().len());
}
