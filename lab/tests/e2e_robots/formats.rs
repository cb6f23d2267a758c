//! What the robots' documentation asks of a body, as types that take nothing else.
//!
//! - DingTalk: "custom robot", message type `markdown`; at most 20,000 bytes.
//!   <https://open.dingtalk.com/document/robots/custom-robot-access>
//! - Feishu: "custom bot", message type `interactive` with a card of JSON structure 1.0; at most 20 KB.
//!   <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>
//! - WeCom: "group robot", message type `markdown`; `content` of at most 4,096 bytes of UTF-8.
//!   <https://developer.work.weixin.qq.com/document/path/91770>

use serde::Deserialize;

/// Bytes of body that DingTalk takes; Feishu's 20 KB are held to the same.
const BODY_LIMIT: usize = 20_000;
/// Bytes of text that WeCom takes.
const WECOM_LIMIT: usize = 4_096;
/// Colours that the header of a Feishu card may have and that we use.
const COLORS: [&str; 3] = ["red", "orange", "green"];

/// A robot of a chat group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Robot {
    DingTalk,
    Feishu,
    WeCom,
}

/// What people see of a message.
#[derive(Debug)]
pub(crate) struct Shown {
    /// In the list of chats, or in the card's header; WeCom has none.
    pub(crate) title: Option<String>,
    /// The message itself, in the robot's markdown.
    pub(crate) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DingTalkBody {
    msgtype: String,
    markdown: DingTalkMarkdown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DingTalkMarkdown {
    title: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeishuBody {
    msg_type: String,
    card: FeishuCard,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeishuCard {
    config: FeishuConfig,
    header: FeishuHeader,
    elements: [FeishuText; 1],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeishuConfig {
    wide_screen_mode: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeishuHeader {
    template: String,
    title: FeishuText,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeishuText {
    tag: String,
    content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeComBody {
    msgtype: String,
    markdown: WeComMarkdown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeComMarkdown {
    content: String,
}

impl Robot {
    /// Every robot.
    pub(crate) const ALL: [Self; 3] = [Self::DingTalk, Self::Feishu, Self::WeCom];

    /// Name in receivers and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DingTalk => "dingtalk",
            Self::Feishu => "feishu",
            Self::WeCom => "wecom",
        }
    }

    /// Path and query of a URL as the robot's maker gives them out.
    pub(crate) const fn path_and_query(self) -> (&'static str, &'static str) {
        match self {
            Self::DingTalk => ("/robot/send", "access_token=0123456789abcdef"),
            Self::Feishu => ("/open-apis/bot/v2/hook/00000000-1111-2222-3333-444444444444", ""),
            Self::WeCom => ("/cgi-bin/webhook/send", "key=00000000-1111-2222-3333-444444444444"),
        }
    }

    /// Fails unless the body has the documented form and size, and the word that keeps a robot's keyword filter open.
    pub(crate) fn read(self, body: &[u8]) -> Shown {
        assert!(body.len() <= BODY_LIMIT, "{self:?}: {} bytes", body.len());
        let shown = match self {
            Self::DingTalk => {
                let body: DingTalkBody = parse(body);
                assert_eq!(body.msgtype, "markdown");
                Shown {
                    title: Some(body.markdown.title),
                    text: body.markdown.text,
                }
            }
            Self::Feishu => {
                let body: FeishuBody = parse(body);
                assert_eq!(body.msg_type, "interactive");
                assert!(body.card.config.wide_screen_mode);
                assert!(COLORS.contains(&body.card.header.template.as_str()));
                assert_eq!(body.card.header.title.tag, "plain_text");
                let [element] = body.card.elements;
                assert_eq!(element.tag, "markdown");
                Shown {
                    title: Some(body.card.header.title.content),
                    text: element.content,
                }
            }
            Self::WeCom => {
                let body: WeComBody = parse(body);
                assert_eq!(body.msgtype, "markdown");
                let text = body.markdown.content;
                assert!(text.len() <= WECOM_LIMIT, "{} bytes of text", text.len());
                Shown { title: None, text }
            }
        };
        if let Some(title) = &shown.title {
            assert!(title.starts_with("xprober "), "{title}");
            assert!(!title.contains(char::is_control) && !title.contains('<'), "{title}");
        }
        assert!(
            shown.title.is_some() || shown.text.contains("xprober"),
            "{}",
            shown.text
        );
        assert!(shown.text.starts_with("**"), "{}", shown.text);
        for mention in ["<at", "<@", "<font"] {
            assert!(!shown.text.contains(mention), "{}", shown.text);
        }
        shown
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> T {
    let parsed = serde_json::from_slice(body);
    parsed.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}
