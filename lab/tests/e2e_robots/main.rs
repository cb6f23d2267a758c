//! What the robots of chat groups get from the shipped files of `grafana/alertmanager`, through a real Alertmanager.
//!
//! `expected/` has the bodies, byte for byte. After a change that is meant, write them anew and read the difference:
//! `REWRITE_EXPECTED=1 cargo test -p xprober-lab --test e2e_robots`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share fails them, too")]

mod formats;

mod scenes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use xprober_lab::process::alertmanager::{Alertmanager, AlertmanagerPlan, WEBHOOK_PORT};
use xprober_lab::process::find;
use xprober_lab::servers::sink::{Notification, Sink};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

use formats::Robot;

/// From an alert to its message: `group_wait` and a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// After the last message that is due, nothing else may come for so much longer than the longest shipped `group_wait`.
const QUIET: Duration = Duration::from_secs(8);
/// Where the shipped file has the robots' URLs.
const SECRETS: &str = "/etc/alertmanager/secrets";
/// Path of a URL as Slack gives them out.
const SLACK_PATH: &str = "/services/T00000000/B00000000/0123456789abcdef";
/// The first Debian release whose Alertmanager knows `payload`.
const RELEASE: &str = "sid";

/// The shipped files with a sink for all robots: nothing in them is changed but the place of the URLs.
struct Chat {
    alertmanager: Alertmanager,
    sink: Sink,
    /// How long an alert may wait for company.
    longest_wait: Duration,
}

impl Chat {
    /// Starts both; `edit` may change the configuration.
    async fn start(lab: &Lab, edit: impl FnOnce(&str) -> String) -> Self {
        // The port that the sample's plain webhook posts to.
        let sink = Sink::start(lab.hub().namespace(), WEBHOOK_PORT).unwrap();
        let folder = find::repository().join("grafana/alertmanager");
        let secrets = lab.work().join("secrets");
        fs::create_dir_all(&secrets).unwrap();
        for robot in Robot::ALL {
            let (path, query) = robot.path_and_query();
            let mark = if query.is_empty() { "" } else { "?" };
            let url = format!("http://127.0.0.1:{WEBHOOK_PORT}{path}{mark}{query}\n");
            fs::write(secrets.join(format!("{}.url", robot.name())), url).unwrap();
        }
        let url = format!("http://127.0.0.1:{WEBHOOK_PORT}{SLACK_PATH}\n");
        fs::write(secrets.join("slack.url"), url).unwrap();
        let shipped = fs::read_to_string(folder.join("alertmanager.yml")).unwrap();
        assert!(shipped.contains(SECRETS));
        let plan = AlertmanagerPlan {
            configuration: edit(&shipped.replace(SECRETS, &secrets.display().to_string())),
            beside: templates(&folder),
            release: Some(RELEASE),
        };
        let alertmanager = Alertmanager::start_plan(lab, &plan).await.unwrap();
        Self {
            alertmanager,
            sink,
            longest_wait: longest_wait(&shipped),
        }
    }

    /// Sends alerts of one scene and waits for the message that each robot gets about all of them.
    ///
    /// Alertmanager does not wait for company when an alert has been firing for longer than `group_wait`. So the first one goes
    /// ahead, and the others have all of `group_interval` to get together.
    async fn tell(&self, alerts: &[Value]) -> [Arc<Notification>; 3] {
        let (first, others) = alerts.split_at(1);
        let mut messages = self.tell_at_once(first).await;
        if !others.is_empty() {
            messages = self.tell_at_once(others).await;
        }
        messages
    }

    async fn tell_at_once(&self, alerts: &[Value]) -> [Arc<Notification>; 3] {
        let before = Instant::now();
        self.alertmanager.send(alerts).await.unwrap();
        self.messages(|message| message.at > before).await
    }

    /// Waits for the first message of each robot for which the question is answered with yes.
    async fn messages(&self, wanted: impl Fn(&Notification) -> bool) -> [Arc<Notification>; 3] {
        let [dingtalk, feishu, wecom] = Robot::ALL.map(|robot| {
            let wanted = &wanted;
            self.sink.wait_for(LIMIT, move |message| {
                message.path == robot.path_and_query().0 && wanted(message)
            })
        });
        [dingtalk.await.unwrap(), feishu.await.unwrap(), wecom.await.unwrap()]
    }

    async fn stop(mut self) {
        self.alertmanager.process.stop().await.unwrap();
        self.sink.stop().await;
    }
}

/// The longest `group_wait` of a file that says all of them in seconds.
fn longest_wait(configuration: &str) -> Duration {
    let lines = configuration.lines().map(str::trim);
    let waits = lines.filter_map(|line| line.strip_prefix("group_wait: ")?.strip_suffix('s'));
    let waits: Vec<u64> = waits.map(|seconds| seconds.parse().unwrap()).collect();
    assert_eq!(waits.len(), configuration.matches("group_wait:").count(), "{waits:?}");
    Duration::from_secs(waits.into_iter().max().unwrap())
}

fn templates(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let templates: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "tmpl"))
        .collect();
    assert_eq!(templates.len(), 4, "{templates:?}");
    templates
}

/// Replaces the shipped routes: every scene is told to the three robots of a language, as one message each. The receivers
/// stay as they are.
fn tell_all(language: &str, shipped: &str) -> String {
    let (head, rest) = shipped.split_once("\nroute:\n").unwrap();
    let (_, receivers) = rest.split_once("\nreceivers:\n").unwrap();
    let routes: String = Robot::ALL
        .map(|robot| format!("    - {{receiver: {}-{language}, continue: true}}\n", robot.name()))
        .concat();
    format!(
        "{head}\nroute:\n  receiver: nobody\n  group_by: [scene]\n  group_wait: 1s\n  group_interval: 5s\n  routes:\n{routes}\n\
         receivers:\n{receivers}"
    )
}

/// What every message has, whatever it says.
fn assert_is_posted_as_documented(robot: Robot, message: &Notification) {
    let (path, query) = robot.path_and_query();
    assert_eq!(message.method, "POST");
    assert_eq!(message.path, path);
    assert_eq!(message.query, query);
    assert_eq!(message.headers["content-type"], "application/json");
    assert_eq!(
        message.headers["content-length"],
        message.bytes.len().to_string().as_str()
    );
}

/// Differences to the expected bodies, so that one run shows all of them.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, scene: &str, language: &str, messages: &[Arc<Notification>; 3]) {
        for (robot, message) in Robot::ALL.into_iter().zip(messages) {
            assert_is_posted_as_documented(robot, message);
            robot.read(&message.bytes);
            let name = format!("{}-{language}-{scene}.json", robot.name());
            let file = find::repository().join("lab/tests/e2e_robots/expected").join(&name);
            if std::env::var_os("REWRITE_EXPECTED").is_some() {
                fs::write(&file, &message.bytes).unwrap();
            }
            let expected = fs::read(&file).unwrap_or_default();
            if expected != message.bytes {
                let [expected, got] = [&expected[..], &message.bytes].map(String::from_utf8_lossy);
                self.0.push(format!("{name}\nexpected {expected}\ngot      {got}"));
            }
        }
    }

    fn assert_none(&self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

/// Tells every scene in a language and compares what the robots got.
async fn assert_bodies(lab: &Lab, language: &str) {
    let chat = Chat::start(lab, |shipped| tell_all(language, shipped)).await;
    let mut differences = Differences::default();
    let mut compare = |scene: &str, messages: &[Arc<Notification>; 3]| {
        differences.compare(scene, language, messages);
    };
    let one = scenes::one();
    compare("one-firing", &chat.tell(std::slice::from_ref(&one)).await);
    compare("one-resolved", &chat.tell(&[scenes::resolved(&one)]).await);
    compare("region-firing", &chat.tell(&[scenes::region()]).await);
    let many = scenes::many();
    compare("many-firing", &chat.tell(&many).await);
    compare("many-one-resolved", &chat.tell(&[scenes::resolved(&many[0])]).await);
    compare("hostile", &chat.tell(&scenes::hostile_together()).await);
    chat.stop().await;
    differences.assert_none();
}

#[test]
fn robots_get_english_messages_byte_for_byte() {
    in_lab(
        "robots_get_english_messages_byte_for_byte",
        Topology::new(),
        async |lab| assert_bodies(lab, "en").await,
    );
}

#[test]
fn robots_get_chinese_messages_byte_for_byte() {
    in_lab(
        "robots_get_chinese_messages_byte_for_byte",
        Topology::new(),
        async |lab| assert_bodies(lab, "zh").await,
    );
}

/// Each text comes first in a message of its own, where YAML would see it.
#[test]
fn no_text_of_an_alert_changes_the_form_of_a_message() {
    in_lab(
        "no_text_of_an_alert_changes_the_form_of_a_message",
        Topology::new(),
        async |lab| {
            let chat = Chat::start(lab, |shipped| tell_all("en", shipped)).await;
            let circuits: Vec<_> = (0..scenes::HOSTILE.len())
                .map(|number| format!("hostile-{number:02}"))
                .collect();
            let all = circuits.iter().zip(scenes::HOSTILE);
            let alerts: Vec<_> = all
                .map(|(circuit, text)| scenes::hostile(circuit, circuit, text))
                .collect();
            chat.alertmanager.send(&alerts).await.unwrap();
            for circuit in &circuits {
                let said = |message: &Notification| String::from_utf8_lossy(&message.bytes).contains(circuit.as_str());
                for (robot, message) in Robot::ALL.into_iter().zip(chat.messages(said).await) {
                    assert_is_posted_as_documented(robot, &message);
                    let shown = robot.read(&message.bytes);
                    let title = shown.title.unwrap_or_else(|| "xprober 1 firing - ".to_owned());
                    assert!(title.starts_with("xprober 1 firing - "), "{title}");
                    assert!(shown.text.contains("**🟠 LineAsymmetric (warning)**"), "{}", shown.text);
                    // A link to nowhere is left out; one from a text would be the sender's, not ours.
                    assert!(!shown.text.contains("]("), "{}", shown.text);
                }
            }
            // Every part is cut; what is too long for WeCom even then is counted.
            for (robot, message) in Robot::ALL.into_iter().zip(chat.tell(&[scenes::huge()]).await) {
                assert_is_posted_as_documented(robot, &message);
                let shown = robot.read(&message.bytes);
                let expected = if robot == Robot::WeCom { "**and 1 more " } else { "…" };
                assert!(shown.text.contains(expected), "{}", shown.text);
            }
            assert_eq!(chat.sink.received().len(), 3 * (circuits.len() + 1));
            chat.stop().await;
        },
    );
}

#[test]
fn shipped_routes_tell_each_owner_once_and_mute_what_follows() {
    in_lab(
        "shipped_routes_tell_each_owner_once_and_mute_what_follows",
        Topology::new(),
        async |lab| {
            let chat = Chat::start(lab, str::to_owned).await;
            let alert = |name: &str, source: &str, more: &[(&str, &str)]| {
                let mut labels = vec![
                    ("severity", "critical"),
                    ("source_region", source),
                    ("target_region", "sg"),
                ];
                labels.extend(more);
                scenes::alert("routes", name, &labels, &[("summary", name)])
            };
            let before = Instant::now();
            let alerts = [
                scenes::alert("routes", "Watchdog", &[("severity", "none")], &[]),
                alert(
                    "LineLatencyOverBudget",
                    "hk",
                    &[("owner", "netops"), ("line", "hk-sg-1")],
                ),
                alert(
                    "LineLatencyOverBudget",
                    "fra",
                    &[("owner", "cloud"), ("line", "fra-sg-1")],
                ),
                alert("PairUnreachable", "lon", &[]),
                // Follows from the pair that does not answer.
                alert(
                    "LineLossOverBudget",
                    "lon",
                    &[("owner", "netops"), ("line", "lon-sg-1")],
                ),
                scenes::alert("routes", "SomebodyElses", &[], &[("summary", "not ours")]),
            ];
            // Alerts of now, as the rules send them: each waits for `group_wait`, long enough to be muted first.
            let alerts = alerts.map(|mut alert| {
                alert.as_object_mut().unwrap().remove("startsAt");
                alert
            });
            chat.alertmanager.send(&alerts).await.unwrap();
            let messages = chat.messages(|message| message.at > before).await;
            let expected = [
                (Robot::DingTalk, "专线时延超预算 (严重)", "hk-sg-1"),
                (Robot::Feishu, "LineLatencyOverBudget (critical)", "fra-sg-1"),
                (Robot::WeCom, "区域之间不通 (严重)", "lon → sg"),
            ];
            for ((robot, name, place), message) in expected.into_iter().zip(&messages) {
                assert_is_posted_as_documented(robot, message);
                let shown = robot.read(&message.bytes);
                assert!(
                    shown.text.contains(name) && shown.text.contains(place),
                    "{}",
                    shown.text
                );
            }
            let plain = chat
                .sink
                .wait_for(LIMIT, |message| message.path == "/alerts")
                .await
                .unwrap();
            assert_eq!(plain.body["alerts"][0]["labels"]["alertname"], "SomebodyElses");
            // Ends early if anything else comes.
            let other = chat.sink.wait_for(chat.longest_wait + QUIET, |message| {
                let known = messages.iter().any(|one| one.at == message.at);
                !known && message.path != "/alerts"
            });
            if let Ok(message) = other.await {
                panic!("told besides: {} {}", message.path, message.body);
            }
            assert_eq!(chat.sink.received().len(), 4);
            chat.stop().await;
        },
    );
}

#[test]
fn slack_gets_its_own_markup() {
    in_lab("slack_gets_its_own_markup", Topology::new(), async |lab| {
        let chat = Chat::start(lab, |shipped| {
            let (fallback, edited) = ("\n  receiver: webhook\n", "\n  receiver: slack-en\n");
            assert!(shipped.contains(fallback));
            shipped.replacen(fallback, edited, 1)
        })
        .await;
        let alert = scenes::alert(
            "slack",
            "SomebodyElses",
            &[("line", "<!channel> & a*b")],
            &[
                ("summary", "slow: <https://example.net/|here>"),
                ("dashboard", "/d/xprober-overview?var-line=x"),
            ],
        );
        chat.alertmanager.send(&[alert]).await.unwrap();
        let message = chat
            .sink
            .wait_for(LIMIT, |message| message.path == SLACK_PATH)
            .await
            .unwrap();
        assert_eq!(message.body["channel"], "#network");
        let attachment = &message.body["attachments"][0];
        assert_eq!(
            attachment["title"],
            "xprober 1 firing - slow - ＜https://example.net/|here>"
        );
        let expected = "*xprober 1 firing*\n\n*🟠 SomebodyElses*\nslow: &lt;https://example.net/|here&gt;\n\
                        line: &lt;!channel&gt; &amp; a＊b\nsince: 2026-01-02 03:04:05 +00:00\n\
                        <http://localhost:3000/d/xprober-overview?var-line=x|dashboard>";
        assert_eq!(attachment["text"], expected);
        chat.stop().await;
    });
}
