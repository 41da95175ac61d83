//! The gRPC interface as strangers use it: by reflection, with generated code, with grpcurl, and by its page.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_proto::FILE_DESCRIPTOR_SET;
use portmeter_tests::agent::{API_KEY, GRPC_ADDRESS};
use portmeter_tests::grpc_clients::GrpcClients;
use portmeter_tests::network::Pair;
use portmeter_tests::xray::{Client, Site, Supervised};
use portmeter_tests::{command, page};
use prost::Message;
use prost_types::FileDescriptorSet;
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("python_calls_every_method", python_calls_every_method),
    ("python_with_generated_code", python_with_generated_code),
    ("grpcurl_needs_only_an_address", grpcurl_needs_only_an_address),
    ("the_page_about_grpc", the_page_about_grpc),
];

/// The page whose commands and programs are run as they stand.
const PAGE: &str = include_str!("../../docs/grpc.md");

/// Where the .proto files lie.
const PROTO_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/proto");

/// By reflection, streams, deadlines, wrong keys and refusals among it; every method of the descriptors.
fn python_calls_every_method() -> Result<()> {
    with_agent(|agent, clients| {
        let mut script = clients.script("every_method.py");
        script.args([GRPC_ADDRESS, API_KEY]);
        let said = agent.host().enter(|| command::output(&mut script))?;
        let called: BTreeSet<String> = said.lines().map(ToOwned::to_owned).collect();
        let all = methods()?;
        let never: Vec<_> = all.difference(&called).collect();
        ensure!(
            never.is_empty() && all.len() > 40,
            "of {} never called: {never:?}",
            all.len()
        );
        Ok(())
    })
}

fn python_with_generated_code() -> Result<()> {
    with_agent(|agent, clients| {
        let mut script = clients.script("with_stubs.py");
        script.args([PROTO_FOLDER, GRPC_ADDRESS, API_KEY]);
        agent.host().enter(|| command::output(&mut script))?;
        Ok(())
    })
}

fn grpcurl_needs_only_an_address() -> Result<()> {
    with_agent(|agent, clients| {
        let grpcurl = |words: &[&str]| {
            let mut grpcurl = clients.grpcurl();
            grpcurl.arg("-plaintext").args(words);
            agent.host().enter(|| command::output_in_time(&mut grpcurl))
        };
        let header = format!("x-api-key: {API_KEY}");
        let said = |words: &[&str]| -> Result<String> {
            let output = grpcurl(&[&["-H", &header], words].concat())?;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{words:?}: {error}");
            Ok(String::from_utf8(output.stdout)?)
        };
        let listed: BTreeSet<String> = said(&[GRPC_ADDRESS, "list"])?.lines().map(ToOwned::to_owned).collect();
        for method in methods()? {
            let (service, _) = method.split_once('/').context("a method without a service")?;
            ensure!(listed.contains(service), "{service} is not in {listed:?}");
            let described = said(&[GRPC_ADDRESS, "describe", &method.replace('/', ".")])?;
            ensure!(described.contains("rpc"), "{method}: {described}");
        }
        let keys: Value = serde_json::from_str(&said(&[GRPC_ADDRESS, "portmeter.v1.KeyService/ListKeys"])?)?;
        ensure!(keys["keys"][0]["name"] == "customer", "{keys}");

        // What is refused comes with its reason, which grpcurl can read: the details' types are in the reflection too.
        let get = [GRPC_ADDRESS, "portmeter.v1.KeyService/GetKey"];
        let request = ["-H", &header, "-d", r#"{"key_id": "nobody"}"#];
        let refused = grpcurl(&[&request[..], &get].concat())?;
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        for part in ["NotFound", "google.rpc.ErrorInfo", "KEY_NOT_FOUND", "portmeter"] {
            ensure!(!refused.status.success() && text.contains(part), "no {part} in {text}");
        }
        for stranger in [&[][..], &["-H", "x-api-key: another-key-for-the-stories"]] {
            let refused = grpcurl(&[stranger, &get].concat())?;
            let text = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(!refused.status.success() && text.contains("Unauthenticated"), "{text}");
        }
        Ok(())
    })
}

/// Every command of the page in one shell, and each of its programs by itself.
fn the_page_about_grpc() -> Result<()> {
    with_agent(|agent, clients| {
        fs::write(agent.data_folder().join("api.key"), API_KEY)?;
        let programs = clients.programs();
        let blocks = page::blocks(PAGE, "sh");
        // A checkout, as far as the page needs one.
        let checkout = tempfile::tempdir()?;
        fs::create_dir(checkout.path().join("proto"))?;
        symlink(PROTO_FOLDER, checkout.path().join("proto/proto"))?;
        let said = page::run_in_one_shell(agent, &blocks, checkout.path(), Some(&programs))?;
        let of = |part: &str| -> Result<&String> {
            let at = blocks.iter().position(|block| block.contains(part));
            let said = at.and_then(|at| said.get(at));
            said.with_context(|| format!("no command with {part}"))
        };
        ensure!(of("ListKeys")?.contains("alice@example.com"), "{said:#?}");
        ensure!(of("nobody")?.contains("KEY_NOT_FOUND"), "{said:#?}");
        ensure!(of("Health/Check")?.contains("SERVING"), "{said:#?}");

        let examples = page::blocks(PAGE, "python");
        ensure!(examples.len() >= 3, "{} examples in Python", examples.len());
        for example in examples {
            let mut python = Command::new(programs.join("python3"));
            python
                .args(["-c", &page::about(agent, example)])
                .current_dir(checkout.path())
                .env("PYTHONPATH", "stubs");
            let said = agent.host().enter(|| command::output(&mut python))?;
            ensure!(!said.is_empty(), "an example shows nothing: {example}");
        }
        Ok(())
    })
}

/// An agent with a core and one customer, who has traffic.
fn with_agent(work: impl FnOnce(&Supervised<'_>, &GrpcClients) -> Result<()>) -> Result<()> {
    let clients = GrpcClients::new()?;
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    Client::start(&pair.client, &agent.link(&key)?)?.fetch(100_000)?;
    work(&agent, &clients)
}

/// Every method of this product's services, as `package.Service/Method`.
fn methods() -> Result<BTreeSet<String>> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?.file;
    let ours = files.iter().filter(|file| file.package() == "portmeter.v1");
    let services = ours.flat_map(|file| &file.service);
    let methods = services.flat_map(|service| {
        let methods = service.method.iter();
        methods.map(|method| format!("portmeter.v1.{}/{}", service.name(), method.name()))
    });
    Ok(methods.collect())
}
