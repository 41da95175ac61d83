//! The DevTools protocol over a pair of pipes: JSON, each message ended by a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::wait;

/// Both ways to a browser.
#[derive(Debug)]
pub(super) struct Pipe {
    writer: ChildStdin,
    messages: Receiver<Value>,
    /// What came beside the answers and was not taken yet.
    events: Vec<Value>,
    last_id: u64,
}

impl Pipe {
    /// Reads on a thread of its own, which ends with the browser.
    pub(super) fn new(writer: ChildStdin, reader: ChildStdout) -> Self {
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            loop {
                let mut message = Vec::new();
                match reader.read_until(0, &mut message) {
                    Ok(length) if length > 0 => {}
                    _ => return,
                }
                message.pop();
                let Ok(message) = serde_json::from_slice(&message) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            writer,
            messages,
            events: Vec::new(),
            last_id: 0,
        }
    }

    /// Calls a method, of a session or of the browser, and waits for what it answers.
    pub(super) fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.writer.write_all(&bytes).context("the browser has ended")?;
        wait::until_some(&format!("the browser answers {method}"), || {
            while let Ok(message) = self.messages.try_recv() {
                if message["id"] == id {
                    return Ok(Some(message));
                }
                self.events.push(message);
            }
            Ok(None)
        })
        .and_then(|answer| match answer.get("error") {
            None => Ok(answer["result"].clone()),
            Some(error) => bail!("{method}: {error}"),
        })
    }

    /// Everything that came by itself since this was called last.
    pub(super) fn events(&mut self) -> Vec<Value> {
        self.events.extend(self.messages.try_iter());
        std::mem::take(&mut self.events)
    }
}
