//! A tab as a person has it: an address, things to look at, to press and to type into. Beside that a record of what it asked
//! for and what it complained about.

use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::pipe::Pipe;
use crate::wait;

/// What a tab is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether it is a phone's.
    pub is_phone: bool,
    /// Whether the system's colours are dark.
    pub is_dark: bool,
}

/// The middle of an element, once it is in view and nothing lies above it.
const MIDDLE: &str = "(selector) => {
    const element = document.querySelector(selector);
    if (!element) return null;
    element.scrollIntoView({ block: 'center', behavior: 'instant' });
    const { left, top, width, height } = element.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const found = document.elementFromPoint(x, y);
    return width > 0 && height > 0 && found && element.contains(found) ? { x, y } : null;
}";

/// A tab of a running browser.
#[derive(Debug)]
pub struct Tab<'browser> {
    pipe: &'browser mut Pipe,
    session: String,
    requests: Vec<String>,
    complaints: Vec<String>,
    received_bytes: u64,
}

impl<'browser> Tab<'browser> {
    pub(super) fn new(pipe: &'browser mut Pipe, session: String) -> Result<Self> {
        let mut tab = Self {
            pipe,
            session,
            requests: Vec::new(),
            complaints: Vec::new(),
            received_bytes: 0,
        };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(tab)
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.pipe.call(Some(&self.session), method, parameters)
    }

    /// Goes to an address.
    pub fn open(&mut self, address: &str) -> Result<()> {
        let gone = self.call("Page.navigate", json!({ "url": address }))?;
        match gone.get("errorText") {
            None => Ok(()),
            Some(error) => bail!("{address}: {error}"),
        }
    }

    /// Has it on another screen.
    pub fn show_on(&mut self, screen: Screen) -> Result<()> {
        let metrics = json!({
            "width": screen.width, "height": screen.height, "mobile": screen.is_phone,
            "deviceScaleFactor": if screen.is_phone { 2 } else { 1 },
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features).map(drop)
    }

    /// What an expression is worth, awaited where it is a promise.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters)?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("{expression}: {exception}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// The same of a function, given a value that is not written as code.
    pub fn apply(&mut self, function: &str, argument: &Value) -> Result<Value> {
        self.evaluate(&format!("({function})({argument})"))
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, what: &str, expression: &str) -> Result<()> {
        let waited = wait::until(what, || Ok(self.evaluate(expression)? == true));
        waited.with_context(|| format!("the page says {}", self.text().unwrap_or_default()))
    }

    /// Waits until an element is there.
    pub fn wait_for_element(&mut self, selector: &str) -> Result<()> {
        let is_there = format!("document.querySelector({}) !== null", json!(selector));
        self.wait_for(&format!("{selector} is on the page"), &is_there)
    }

    /// Everything that can be read.
    pub fn text(&mut self) -> Result<String> {
        let text = self.evaluate("document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The text of the first element like this; none where there is no such element.
    pub fn text_of(&mut self, selector: &str) -> Result<Option<String>> {
        let text = self.apply(
            "(selector) => document.querySelector(selector)?.textContent ?? null",
            &json!(selector),
        )?;
        Ok(text.as_str().map(str::to_owned))
    }

    /// An attribute of the first element like this.
    pub fn attribute_of(&mut self, selector: &str, name: &str) -> Result<Option<String>> {
        let function = "([selector, name]) => document.querySelector(selector)?.getAttribute(name) ?? null";
        let text = self.apply(function, &json!([selector, name]))?;
        Ok(text.as_str().map(str::to_owned))
    }

    /// Presses an element with the mouse, once it can be pressed.
    pub fn press(&mut self, selector: &str) -> Result<()> {
        let middle = wait::until_some(&format!("{selector} can be pressed"), || {
            let middle = self.apply(MIDDLE, &json!(selector))?;
            Ok((!middle.is_null()).then_some(middle))
        });
        let middle = middle.with_context(|| format!("the page says {}", self.text().unwrap_or_default()))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": middle["x"], "y": middle["y"], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Presses a key of the keyboard, by its name in the standard, for example `Tab`.
    pub fn press_key(&mut self, key: &str, code: u32) -> Result<()> {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Types a text into a field, in place of what is there.
    pub fn type_into(&mut self, selector: &str, text: &str) -> Result<()> {
        self.press(selector)?;
        self.apply(
            "(selector) => document.querySelector(selector).select()",
            &json!(selector),
        )?;
        self.call("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// Chooses an option of a list.
    pub fn choose(&mut self, selector: &str, value: &str) -> Result<()> {
        let function = "([selector, value]) => {
            const list = document.querySelector(selector);
            list.value = value;
            list.dispatchEvent(new Event('change', { bubbles: true }));
            return list.value;
        }";
        let chosen = self.apply(function, &json!([selector, value]))?;
        if chosen == value {
            return Ok(());
        }
        bail!("{selector} has no {value}")
    }

    /// A picture of an element alone, as it is shown, in PNG.
    pub fn picture_of(&mut self, selector: &str) -> Result<Vec<u8>> {
        let function = "(selector) => {
            const { left, top, width, height } = document.querySelector(selector).getBoundingClientRect();
            return { x: left + scrollX, y: top + scrollY, width, height, scale: 2 };
        }";
        let clip = self.apply(function, &json!(selector))?;
        self.picture(json!({"format": "png", "clip": clip}))
    }

    /// Keeps a picture of the whole page in a file.
    pub fn keep_picture(&mut self, path: &Path) -> Result<()> {
        self.evaluate("scrollTo(0, 0)")?;
        let layout = self.call("Page.getLayoutMetrics", json!({}))?;
        let size = &layout["cssContentSize"];
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let picture = self.picture(json!({"format": "png", "clip": clip, "captureBeyondViewport": true}))?;
        std::fs::write(path, picture).with_context(|| format!("writing {}", path.display()))
    }

    fn picture(&mut self, parameters: Value) -> Result<Vec<u8>> {
        let answer = self.call("Page.captureScreenshot", parameters)?;
        let data = answer["data"].as_str().context("no picture")?;
        Ok(BASE64_STANDARD.decode(data)?)
    }

    /// What can be used with a keyboard or read out and has no name, as assistive programs find it.
    pub fn nameless(&mut self) -> Result<Vec<String>> {
        const ROLES: [&str; 10] = [
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "switch",
            "dialog",
            "table",
            "meter",
            "img",
        ];
        let tree = self.call("Accessibility.getFullAXTree", json!({}))?;
        let nodes = tree["nodes"].as_array().context("no tree")?;
        let is_nameless = |node: &&Value| {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            let name = node["name"]["value"].as_str().unwrap_or_default();
            node["ignored"] == false && ROLES.contains(&role) && name.trim().is_empty()
        };
        Ok(nodes.iter().filter(is_nameless).map(Value::to_string).collect())
    }

    /// Every address that was asked for.
    pub fn requests(&mut self) -> &[String] {
        self.take_events();
        &self.requests
    }

    /// What was said to be wrong: errors of scripts, of the policy, of the network.
    pub fn complaints(&mut self) -> &[String] {
        self.take_events();
        &self.complaints
    }

    /// Bytes of all answers so far, with their heads.
    pub fn received_bytes(&mut self) -> u64 {
        self.take_events();
        self.received_bytes
    }

    fn take_events(&mut self) {
        for event in self.pipe.events() {
            let parameters = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => self
                    .requests
                    .extend(parameters["request"]["url"].as_str().map(str::to_owned)),
                "Network.loadingFinished" => {
                    self.received_bytes += parameters["encodedDataLength"].as_f64().unwrap_or_default() as u64;
                }
                "Runtime.exceptionThrown" => self.complaints.push(parameters["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled"
                    if ["error", "warning", "assert"].contains(&parameters["type"].as_str().unwrap_or_default()) =>
                {
                    self.complaints.push(parameters["args"].to_string());
                }
                "Log.entryAdded"
                    if parameters["entry"]["level"] != "verbose" && parameters["entry"]["level"] != "info" =>
                {
                    let entry = &parameters["entry"];
                    self.complaints
                        .push(format!("{} {} {}", entry["source"], entry["text"], entry["url"]));
                }
                _ => {}
            }
        }
    }
}
