//! The page about the gRPC interface names every method and every reason, as they are.

use std::collections::BTreeSet;

use portmeter_proto::FILE_DESCRIPTOR_SET;
use portmeter_proto::reason::ALL;
use prost::Message as _;
use prost_types::FileDescriptorSet;

const PAGE: &str = include_str!("../../docs/grpc.md");

#[test]
fn every_method_is_on_the_page() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files.iter().filter(|file| file.package() == "portmeter.v1");
    let methods: BTreeSet<String> = ours
        .flat_map(|file| &file.service)
        .flat_map(|service| {
            service.method.iter().map(|method| {
                let stream = if method.server_streaming() { " (stream)" } else { "" };
                format!("| `{}` | `{}`{stream}", service.name(), method.name())
            })
        })
        .collect();
    assert!(methods.len() > 40, "{methods:?}");
    let first_two_cells = |row: &str| {
        row.splitn(4, '|')
            .take(3)
            .collect::<Vec<_>>()
            .join("|")
            .trim_end()
            .to_owned()
    };
    let listed: BTreeSet<String> = rows("| service | method | |").map(first_two_cells).collect();
    assert_eq!(listed, methods);
}

#[test]
fn every_reason_is_on_the_page() {
    let expected = ALL.map(|reason| {
        let (code, status) = (
            upper_snake(&format!("{:?}", reason.code())),
            reason.http_status().as_u16(),
        );
        format!("| `{}` | `{code}` | {status} | ", reason.name())
    });
    let listed: Vec<&str> = rows("| reason | code | HTTP | |").collect();
    assert_eq!(listed.len(), expected.len(), "{listed:#?}");
    for (row, beginning) in listed.iter().zip(&expected) {
        assert!(
            row.starts_with(beginning) && row.len() > beginning.len() + 5,
            "{row}, not {beginning}"
        );
    }
}

/// The rows of the table with this head.
fn rows(head: &str) -> impl Iterator<Item = &'static str> {
    let (_, table) = PAGE.split_once(&format!("{head}\n")).expect("the table's head");
    table.lines().skip(1).take_while(|line| line.starts_with('|'))
}

fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}
