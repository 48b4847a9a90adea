//! A real browser without a window. It is spoken to by Chromium's `DevTools` protocol over a pipe, which needs no library and no port.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually;

/// The longest that the browser may take to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// What it told by itself, in order.
    told: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        // The protocol is spoken on the descriptors 3 and 4.
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 >/dev/null 2>&1", "chromium"]);
        // Root has no sandbox, and the pages are our own. Nothing is to be looked up elsewhere.
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
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        let input = process.stdin.take().expect("piped");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
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
            told: Vec::new(),
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

    /// Opens a page, and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let before = self.count("Page.loadEventFired");
        let opened = self.call("Page.navigate", &json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        eventually(PATIENCE, url, || (self.count("Page.loadEventFired") > before).then_some(()));
    }

    /// Lets pages run scripts, or not.
    pub fn allow_scripts(&mut self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !allowed }));
    }

    /// What an expression of its language comes to on the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let arguments =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", &arguments);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// The text that a reader sees in the first element of a selector; nothing where there is none.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text =
            self.evaluate(&format!("document.querySelector({})?.innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true on the page.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, expression: &str) -> Duration {
        eventually(limit, expression, || (self.evaluate(expression) == true).then_some(())).1
    }

    /// Prefers a colour scheme: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Gives the window a size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Goes to the next element by the keyboard.
    pub fn tab(&mut self) {
        for kind in ["rawKeyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 }),
            );
        }
    }

    /// The page as a PNG: the whole of it, or what the window shows.
    pub fn picture(&mut self, whole: bool) -> Vec<u8> {
        let picture =
            self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": whole }));
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// Where it sent requests so far.
    pub fn requests(&mut self) -> Vec<String> {
        self.told("Network.requestWillBeSent")
            .map(|told| told["request"]["url"].to_string().trim_matches('"').to_owned())
            .collect()
    }

    /// What it complained about so far: violations of the policy, errors, exceptions.
    pub fn complaints(&mut self) -> Vec<String> {
        let kinds = ["Log.entryAdded", "Runtime.exceptionThrown", "Audits.issueAdded"];
        kinds
            .into_iter()
            .flat_map(|kind| self.told(kind).map(ToString::to_string).collect::<Vec<_>>())
            .collect()
    }

    fn count(&mut self, kind: &str) -> usize {
        self.told(kind).count()
    }

    /// What it told of a kind.
    fn told<'a>(&'a mut self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.told.extend(self.output.try_iter());
        self.told.iter().filter(move |told| told["method"] == kind).map(|told| &told["params"])
    }

    /// Has it do something, and gives what that comes to.
    #[track_caller]
    fn call(&mut self, method: &str, arguments: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": arguments });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input
            .write_all(format!("{message}\0").as_bytes())
            .expect("chromium, which tests/setup.sh installs");
        loop {
            let mut answer = self
                .output
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.told.push(answer);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
