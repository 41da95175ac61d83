//! A bare axum server: one route that returns the bytes of a file. What `cargo xtask bench rest` measures beside the
//! real gateway.
//!
//! `bare_route ADDR ROUTE FILE`

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, route, file] = arguments.as_slice() else {
        panic!("usage: bare_route ADDR ROUTE FILE")
    };
    let body = Bytes::from(std::fs::read(file).expect("the file can be read"));
    let answer = move || {
        let body = body.clone();
        async move { ([(CONTENT_TYPE, "application/json")], body) }
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .expect("the address is free");
    axum::serve(listener, Router::new().route(route, get(answer)))
        .await
        .expect("it serves until it is killed");
}
