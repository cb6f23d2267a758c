//! Headless Chromium in the hub: opens pages, says what they look like to a visitor, and notes everything that they do.
//!
//! ```text
//!   Browser --command--> [protocol] --JSON, NUL--> fifo --> descriptor 3 ----\
//!     ^                                                                       chromium --http--> the lab, nothing else
//!     +-- Message: Answer, Event(Noted) <--JSON, NUL-- fifo <-- descriptor 4 -/
//! ```
//!
//! It speaks the Chrome `DevTools` protocol (<https://chromedevtools.github.io/devtools-protocol/>) over its pipe transport, which
//! needs neither a port nor a WebSocket; the descriptors are those of a shell that then becomes the browser.

pub mod protocol;

mod pipe;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use self::pipe::Pipes;
use self::protocol::{Message, Noted};
use crate::error::LabError;
use crate::process::{Process, ProcessPlan, find};
use crate::world::Lab;

/// Time for one command, on a busy machine; a screenshot takes the longest.
const LIMIT: Duration = Duration::from_mins(1);
/// Pause between two looks at a page that has no way to call us.
const PAUSE: Duration = Duration::from_millis(200);

/// What keeps the browser from doing anything but what it is told.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
];

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether it is a phone, whose pages may be wider than the screen and are scaled.
    pub mobile: bool,
    /// Whether the visitor likes dark pages.
    pub dark: bool,
}

impl Device {
    /// A window on a desktop.
    pub const DESKTOP: Self = Self {
        width: 1280,
        height: 900,
        mobile: false,
        dark: false,
    };

    /// A phone of common size.
    pub const PHONE: Self = Self {
        width: 390,
        height: 844,
        mobile: true,
        dark: false,
    };

    /// The same with dark pages.
    #[must_use]
    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    pipes: Pipes,
    session: String,
    last_id: u64,
    noted: Vec<Noted>,
}

impl Browser {
    /// Starts the browser and opens an empty page.
    ///
    /// # Errors
    /// [`LabError::NoProgram`], [`LabError::Io`], or [`LabError::Browser`] when it does not answer.
    pub async fn start(lab: &Lab) -> Result<Self, LabError> {
        let folder = lab.work().join("browser");
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let pipes = Pipes::create(&folder)?;
        let process = Process::start(lab.hub(), &plan(&folder)?)?;
        let mut browser = Self {
            process,
            pipes,
            session: String::new(),
            last_id: 0,
            noted: Vec::new(),
        };
        let target = browser
            .send("Target.createTarget", &json!({"url": "about:blank"}))
            .await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.send("Target.attachToTarget", &attach).await?;
        attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.send(&format!("{domain}.enable"), &json!({})).await?;
        }
        Ok(browser)
    }

    /// Turns the page into one on that device.
    ///
    /// # Errors
    /// [`LabError::Browser`].
    pub async fn hold(&mut self, device: Device) -> Result<(), LabError> {
        let metrics = json!({
            "width": device.width, "height": device.height, "deviceScaleFactor": 1, "mobile": device.mobile,
        });
        self.send("Emulation.setDeviceMetricsOverride", &metrics).await?;
        let scheme = if device.dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.send("Emulation.setEmulatedMedia", &features).await.map(drop)
    }

    /// Forbids or allows the page to run scripts, from the next load on.
    ///
    /// # Errors
    /// [`LabError::Browser`].
    pub async fn allow_scripts(&mut self, allowed: bool) -> Result<(), LabError> {
        let value = json!({"value": !allowed});
        self.send("Emulation.setScriptExecutionDisabled", &value)
            .await
            .map(drop)
    }

    /// Opens a URL and waits until it is loaded.
    ///
    /// # Errors
    /// [`LabError::Browser`], also when the page cannot be reached.
    pub async fn open(&mut self, url: &str) -> Result<(), LabError> {
        let loads = self.count(&Noted::Loaded);
        let answer = self.send("Page.navigate", &json!({"url": url})).await?;
        if let Some(reason) = answer["errorText"].as_str() {
            return Err(self.failed(format!("{url} does not open: {reason}")));
        }
        let deadline = Instant::now() + LIMIT;
        while self.count(&Noted::Loaded) == loads {
            self.hear(deadline, &format!("{url} being loaded")).await?;
        }
        Ok(())
    }

    /// Evaluates an expression in the page and hands its value over as JSON. The page's own policy does not apply to it.
    ///
    /// # Errors
    /// [`LabError::Browser`], also when the expression throws.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value, LabError> {
        let question = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.send("Runtime.evaluate", &question).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let reason = format!("{expression} throws {thrown}");
            return Err(self.failed(reason));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Evaluates an expression again and again until its value pleases, and hands that over.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with the last value.
    pub async fn wait_for(
        &mut self,
        expression: &str,
        limit: Duration,
        pleases: impl Fn(&Value) -> bool,
    ) -> Result<Value, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let value = self.evaluate(expression).await?;
            if pleases(&value) {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                return Err(LabError::Timeout {
                    what: expression.to_owned(),
                    limit,
                    detail: format!("; last value: {value:#}"),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes a picture of what is on the screen, as a PNG file.
    ///
    /// # Errors
    /// [`LabError::Browser`], [`LabError::Io`].
    pub async fn screenshot(&mut self, file: &Path) -> Result<(), LabError> {
        let answer = self.send("Page.captureScreenshot", &json!({"format": "png"})).await?;
        let picture =
            protocol::bytes(&answer["data"]).ok_or_else(|| self.failed("the picture is no base64".to_owned()))?;
        fs::write(file, picture).map_err(LabError::io(format!("writing {}", file.display())))
    }

    /// Everything that the page did since the start: loads, requests, complaints.
    ///
    /// # Errors
    /// [`LabError::Browser`].
    pub async fn noted(&mut self) -> Result<&[Noted], LabError> {
        // What was said before the answer to this has been heard then; it changes nothing.
        self.send("Page.enable", &json!({})).await?;
        Ok(&self.noted)
    }

    /// Ends the browser.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(mut self) -> Result<(), LabError> {
        self.process.stop().await.map(drop)
    }

    fn count(&self, what: &Noted) -> usize {
        self.noted.iter().filter(|one| *one == what).count()
    }

    async fn send(&mut self, method: &str, parameters: &Value) -> Result<Value, LabError> {
        self.last_id += 1;
        let id = self.last_id;
        let command = protocol::command(id, &self.session, method, parameters);
        let deadline = Instant::now() + LIMIT;
        if let Err(reason) = self.pipes.write(&command).await {
            return Err(self.failed(format!("{method}: {reason}")));
        }
        loop {
            match self.hear(deadline, method).await? {
                Some((answered, result)) if answered == id => {
                    return result.map_err(|reason| self.failed(format!("{method}: {reason}")));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Takes one message in; hands over what is an answer and notes what is not.
    async fn hear(&mut self, deadline: Instant, doing: &str) -> Result<Option<(u64, Result<Value, String>)>, LabError> {
        let text = match timeout_at(deadline, self.pipes.read()).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return Err(self.failed(format!("{doing}: {error}"))),
            Err(_) => {
                self.process.check_running()?;
                return Err(self.failed(format!("{doing} took longer than {LIMIT:?}")));
            }
        };
        Ok(match protocol::read(&text) {
            Message::Answer(id, result) => Some((id, result)),
            Message::Event(noted) => {
                self.noted.extend(noted);
                None
            }
        })
    }

    fn failed(&self, reason: String) -> LabError {
        LabError::Browser {
            reason,
            log: self.process.log().to_owned(),
        }
    }
}

/// A shell connects the descriptors to the pipes, whose other ends are open already, and becomes the browser.
fn plan(folder: &Path) -> Result<ProcessPlan, LabError> {
    let program = find::browser()?;
    let script = r#"exec 3<"$1/commands" 4>"$1/answers"; shift; exec "$@""#;
    let mut arguments = vec![
        "-c".to_owned(),
        script.to_owned(),
        "sh".to_owned(),
        folder.display().to_string(),
        program.display().to_string(),
    ];
    arguments.extend(FLAGS.map(str::to_owned));
    arguments.push(format!("--user-data-dir={}", folder.join("profile").display()));
    // Caches and settings of the user who runs the test are none of the browser's business.
    let home = folder.join("home").display().to_string();
    Ok(ProcessPlan::new("browser", Path::new("/bin/sh"), arguments)
        .variable("HOME", &home)
        .variable("XDG_CACHE_HOME", &home)
        .variable("XDG_CONFIG_HOME", &home))
}
