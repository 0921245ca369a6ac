//! The document of the interface.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&selfsame_server::openapi_json()).expect("the document is JSON")
}

/// Every operation as `(name, operation)`.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").iter();
            methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect()
}

#[test]
fn every_route_documents_its_refusals() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let operations = operations(&document);
    assert!(operations.len() >= 20, "{}", operations.len());
    for (name, operation) in operations {
        if name == "GET /livez" {
            continue;
        }
        let responses = operation["responses"].as_object().expect("responses");
        let is_problem = |response: &Value| response.to_string().contains("#/components/schemas/Problem\"");
        assert!(responses.values().any(is_problem), "{name} documents no problem");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} documents no success");
    }
}

#[test]
fn operations_have_names_of_their_own() {
    let document = document();
    let mut seen = HashSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an operation id");
        assert!(seen.insert(id.to_owned()), "{name}: `{id}` names another operation too");
    }
}

#[test]
fn everything_that_is_referred_to_is_there() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference inside the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_problem_code_is_in_the_document() {
    let document = document();
    let codes = &document["components"]["schemas"]["ProblemCode"];
    for code in selfsame_api::problem::ProblemCode::ALL {
        assert!(codes.to_string().contains(&format!("\"{code}\"")), "{code}");
    }
}

#[test]
fn the_tables_of_the_interfaces_pages_are_the_present_ones() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |page| std::fs::read_to_string(docs.join(page)).expect("the page is there");
    let pages = [read("interface.md"), read("conformance.md")].concat();
    for (name, table) in selfsame_terminal::interface_tables() {
        let marked = format!("<!-- begin generated: {name} -->\n\n{table}\n<!-- end generated -->");
        assert!(pages.contains(&marked), "table `{name}` is out of date: run `cargo xtask openapi`");
    }
}

#[test]
fn every_reason_to_try_again_has_words_for_the_payer() {
    use selfsame_biometrics::face::Retry as Face;
    use selfsame_biometrics::finger::Rejection as Finger;
    use selfsame_domain::enrolment::{TooFewPoses, Turn};
    let face = [
        Face::NoFace,
        Face::SeveralFaces,
        Face::TooFar,
        Face::TooClose,
        Face::OffCenter,
        Face::TurnToCamera,
        Face::HoldHeadUpright,
        Face::TooDark,
        Face::TooBright,
        Face::UnevenLight,
        Face::Blurred,
    ];
    let finger =
        [Finger::TooLarge, Finger::NoFinger, Finger::PartialContact, Finger::Unclear, Finger::FewDetails];
    let turns = [Turn::Left, Turn::Right, Turn::Up].map(Turn::as_str).into_iter().chain([TooFewPoses::CODE]);
    let codes = face.iter().map(|retry| retry.code()).chain(finger.iter().map(|rejection| rejection.code()));
    let codes = codes.chain(turns);
    for code in codes {
        assert!(selfsame_api::guidance::guidance_of(code).is_some(), "{code}");
    }
}

#[test]
fn the_committed_documents_are_the_present_ones() {
    let documents = [
        ("server", selfsame_server::openapi_json()),
        ("terminal", selfsame_terminal::openapi_json()),
        ("desk", selfsame_terminal::desk_openapi_json()),
        ("kiosk", selfsame_terminal::kiosk_openapi_json()),
    ];
    for (name, present) in documents {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/openapi/{name}.json"));
        let committed = std::fs::read_to_string(&path).expect("it is committed");
        let [committed, present] =
            [committed, present].map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        assert!(committed == present, "docs/openapi/{name}.json is out of date: run `cargo xtask openapi`");
    }
}
