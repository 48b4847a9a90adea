//! Headless Chromium, controlled with the `DevTools` protocol over a pipe. The pipe needs no
//! library and no port.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually;

/// Timeout for a reply of the browser, long enough for a busy machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Running browser with one page.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// The `DevTools` events so far, in order.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("cannot create a directory");
        let mut command = Command::new("sh");
        // With `--remote-debugging-pipe`, Chromium reads from descriptor 3 and writes to descriptor
        // 4.
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 >/dev/null 2>&1", "chromium"]);
        // Chromium has no sandbox when it runs as root, and the pages are trusted. It must not send
        // requests of its own.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ]);
        command.args([
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cannot run sh");
        let input = process.stdin.take().expect("the stream is piped");
        let stdout = BufReader::new(process.stdout.take().expect("the stream is piped"));
        let (sender, output) = channel();
        std::thread::spawn(move || {
            for message in stdout.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            process,
            input,
            output,
            calls: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log", "Audits"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Opens a page, and waits for its `load` event.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let before = self.count("Page.loadEventFired");
        let opened = self.call("Page.navigate", &json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        eventually(REPLY_TIMEOUT, url, || {
            (self.count("Page.loadEventFired") > before).then_some(())
        });
    }

    /// Enables or disables scripts on pages.
    pub fn allow_scripts(&mut self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !allowed }));
    }

    /// Evaluates a JavaScript expression on the page, and returns its value.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let arguments =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", &arguments);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Returns the visible text of the first element that matches a CSS selector; empty if none
    /// matches.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text =
            self.evaluate(&format!("document.querySelector({})?.innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a JavaScript expression is true on the page, and returns the time waited.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, expression: &str) -> Duration {
        eventually(limit, expression, || (self.evaluate(expression) == true).then_some(())).1
    }

    /// Sets the preferred colour scheme: `light` or `dark`.
    pub fn prefer_color_scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Sets the size of the viewport, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Presses the Tab key.
    pub fn tab(&mut self) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 }),
            );
        }
    }

    /// Takes a screenshot as PNG, of the whole page or of the viewport.
    pub fn screenshot(&mut self, whole: bool) -> Vec<u8> {
        let screenshot =
            self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": whole }));
        BASE64_STANDARD
            .decode(screenshot["data"].as_str().expect("no data in the reply"))
            .expect("invalid base64")
    }

    /// Returns the URLs of all requests so far.
    pub fn requests(&mut self) -> Vec<String> {
        self.events("Network.requestWillBeSent")
            .map(|event| event["request"]["url"].to_string().trim_matches('"').to_owned())
            .collect()
    }

    /// Returns the problems so far: violations of the content security policy, log entries and
    /// exceptions.
    pub fn errors(&mut self) -> Vec<String> {
        let kinds = ["Log.entryAdded", "Runtime.exceptionThrown", "Audits.issueAdded"];
        kinds
            .into_iter()
            .flat_map(|kind| self.events(kind).map(ToString::to_string).collect::<Vec<_>>())
            .collect()
    }

    fn count(&mut self, kind: &str) -> usize {
        self.events(kind).count()
    }

    /// Returns the parameters of all events with this method.
    fn events<'a>(&'a mut self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.extend(self.output.try_iter());
        let events = self.events.iter();
        events.filter(move |event| event["method"] == kind).map(|event| &event["params"])
    }

    /// Calls a method of the protocol, and returns its result.
    #[track_caller]
    fn call(&mut self, method: &str, arguments: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": arguments });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input
            .write_all(format!("{message}\0").as_bytes())
            .expect("cannot write to chromium; tests/setup.sh installs it");
        loop {
            let mut message = self
                .output
                .recv_timeout(REPLY_TIMEOUT)
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
