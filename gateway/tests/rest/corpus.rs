//! The fuzzer's corpus again, through the same checks, without the fuzzer: what it once found stays covered wherever
//! `cargo test` runs. Beside it every request that the contract names, good and bad.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::agent::Agent;
use crate::any_request::check;
use crate::route::contract;

const FOLDERS: [&str; 2] = ["fuzz/corpus/router", "fuzz/regressions/router"];

#[tokio::test]
async fn the_corpus_breaks_no_rule() {
    let mut n_inputs = 0;
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let checked = check(&Agent::with_keys(3), &input).await;
            assert_eq!(checked, Ok(()), "{}", path.display());
            n_inputs += 1;
        }
    }
    assert!(
        n_inputs > 100,
        "only {n_inputs} inputs: run `cargo xtask fuzz --target router --keep`"
    );
}

#[tokio::test]
async fn the_requests_of_the_contract_break_no_rule() {
    for route in contract().routes {
        let key_id = Agent::with_keys(3).key(1).id;
        let queries = route.bad_queries.values().filter_map(Value::as_array).flatten();
        let queries = queries.filter_map(Value::as_str).chain([route.query.as_str()]);
        let bodies = route.bad_bodies.values().filter_map(Value::as_array).flatten();
        let bodies = bodies
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .chain([route.body_text()]);
        let bodies: Vec<String> = bodies.collect();
        for query in queries {
            for body in &bodies {
                for method in route.methods() {
                    let input = format!("{method} {}?{query}\n\n{body}", route.path_for(&key_id));
                    let checked = check(&Agent::with_keys(3), input.as_bytes()).await;
                    assert_eq!(checked, Ok(()), "{input}");
                }
            }
        }
    }
}
