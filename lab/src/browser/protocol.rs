//! Messages of the `DevTools` protocol: commands out, answers and events in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Something that the page did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It was loaded completely.
    Loaded,
    /// It asked for this URL.
    Requested(String),
    /// It, or the browser about it, said something on the console.
    Said {
        /// `error`, `warning`, `log`, ...
        level: String,
        /// What was said.
        text: String,
    },
    /// A script of it failed.
    Threw(String),
}

/// What comes from the browser.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The result of the command with this number, or why there is none.
    Answer(u64, Result<Value, String>),
    /// Something happened; most of what happens says nothing here.
    Event(Option<Noted>),
}

/// Writes a command to the page of a session; an empty session means the browser itself.
#[must_use]
pub fn command(id: u64, session: &str, method: &str, parameters: &Value) -> String {
    let mut command = json!({"id": id, "method": method, "params": parameters});
    if !session.is_empty() {
        command["sessionId"] = session.into();
    }
    command.to_string()
}

/// Reads a message.
#[must_use]
pub fn read(text: &[u8]) -> Message {
    let Ok(mut message) = serde_json::from_slice::<Value>(text) else {
        return Message::Event(None);
    };
    if let Some(id) = message["id"].as_u64() {
        let result = match message.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(message["result"].take()),
        };
        return Message::Answer(id, result);
    }
    Message::Event(event(&message))
}

fn event(message: &Value) -> Option<Noted> {
    let (method, parameters) = (message["method"].as_str()?, &message["params"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match method {
        "Page.loadEventFired" => Some(Noted::Loaded),
        "Network.requestWillBeSent" => Some(Noted::Requested(text(&parameters["request"]["url"]))),
        "Log.entryAdded" => Some(Noted::Said {
            level: text(&parameters["entry"]["level"]),
            text: format!(
                "{} {}",
                text(&parameters["entry"]["text"]),
                text(&parameters["entry"]["url"])
            ),
        }),
        "Runtime.consoleAPICalled" => Some(Noted::Said {
            level: text(&parameters["type"]),
            text: parameters["args"].to_string(),
        }),
        "Runtime.exceptionThrown" => Some(Noted::Threw(parameters["exceptionDetails"].to_string())),
        _ => None,
    }
}

/// Decodes bytes inside a message.
#[must_use]
pub fn bytes(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_session_if_it_has_one() {
        assert_eq!(
            command(1, "", "A.b", &json!({})),
            r#"{"id":1,"method":"A.b","params":{}}"#
        );
        assert!(command(2, "s", "A.b", &json!({})).contains(r#""sessionId":"s""#));
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        assert_eq!(
            read(br#"{"id":3,"result":{"a":1}}"#),
            Message::Answer(3, Ok(json!({"a": 1})))
        );
        assert_eq!(
            read(br#"{"id":4,"error":{"code":-1}}"#),
            Message::Answer(4, Err(r#"{"code":-1}"#.to_owned()))
        );
        let said = Noted::Said {
            level: "error".to_owned(),
            text: "refused http://x/".to_owned(),
        };
        for (text, noted) in [
            (r#"{"method":"Page.loadEventFired","params":{}}"#, Some(Noted::Loaded)),
            (
                r#"{"method":"Network.requestWillBeSent","params":{"request":{"url":"http://x/"}}}"#,
                Some(Noted::Requested("http://x/".to_owned())),
            ),
            (
                r#"{"method":"Log.entryAdded","params":{"entry":{"level":"error","text":"refused","url":"http://x/"}}}"#,
                Some(said),
            ),
            (r#"{"method":"Page.frameResized"}"#, None),
            ("no JSON", None),
        ] {
            assert_eq!(read(text.as_bytes()), Message::Event(noted), "{text}");
        }
    }
}
