//! The router over the tests' stand-in agent, and any request. What is checked is in the tests' `any_request`, so that an
//! ordinary test can replay the corpus.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the tests use the rest")]

#[path = "../../tests/rest/agent.rs"]
mod agent;
#[path = "../../tests/rest/any_request.rs"]
mod any_request;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fuzz_target!(|input: &[u8]| {
    let agent = agent::Agent::with_keys(3);
    let checked = RUNTIME.with(|runtime| runtime.block_on(any_request::check(&agent, input)));
    if let Err(broken) = checked {
        panic!("{broken}");
    }
});
