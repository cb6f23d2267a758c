//! Alerts that the robots are told of, with the labels and annotations of `grafana/rules/alerts.yml`.

use serde_json::{Value, json};

const START: &str = "2026-01-02T03:04:05Z";
const END: &str = "2026-01-02T03:09:35Z";

/// Texts that would not arrive as texts if they were taken for YAML, templates, JSON or markup.
pub(crate) const HOSTILE: [&str; 17] = [
    "[FIRING:2] two lines are slow",
    "- x",
    "null",
    "42",
    "true",
    ": ",
    "a: b: c",
    "{\"a\": [1, 2]}",
    "? complex",
    "\"quoted\" and 'quoted' \\ and \\n",
    "line one\nline two\r\n\n# line three\n- foo: bar",
    "{{ .Status }} {{ template \"xprober.title.en\" . }}",
    "<at id=all></at> <@all> <font color=\"warning\">x</font>",
    "[here](https://example.net/) `code` **bold** _italic_ ~~gone~~",
    "专线：\u{201c}香港—新加坡\u{201d}\u{3000}时延过高 🔥",
    "bell \u{7} escape \u{1b}[31m next line \u{85} separator \u{2028} right to left \u{202e} byte order \u{feff}",
    "&lt;at&gt; &#60;b&#62; %s %[1]d $1 ${1}",
];

/// An alert that fires since [`START`]; `scene` keeps the messages of scenes apart and is not shown.
pub(crate) fn alert(scene: &str, name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Value {
    let mut alert = json!({"labels": {"alertname": name, "scene": scene}, "annotations": {}, "startsAt": START});
    for (name, value) in labels {
        alert["labels"][*name] = json!(value);
    }
    for (name, value) in annotations {
        alert["annotations"][*name] = json!(value);
    }
    alert
}

/// The same alert, over since [`END`].
pub(crate) fn resolved(alert: &Value) -> Value {
    let mut alert = alert.clone();
    alert["endsAt"] = json!(END);
    alert
}

/// A line over its budget, with everything that the rules know about it.
pub(crate) fn one() -> Value {
    alert(
        "one",
        "LineLatencyOverBudget",
        &[
            ("severity", "critical"),
            ("component", "line"),
            ("line", "hk-sg-1"),
            ("circuit", "CT-10086"),
            ("carrier", "中国电信"),
            ("owner", "netops"),
            ("source_region", "ap-east-1"),
            ("target_region", "ap-southeast-1"),
        ],
        &[
            (
                "summary",
                "line hk-sg-1 from ap-east-1 to ap-southeast-1 is over its RTT budget",
            ),
            ("description", "95% of the probes took longer than 10ms."),
            ("value", "95%"),
            ("runbook", "docs/runbook.md#linelatencyoverbudget"),
            (
                "dashboard",
                "/d/xprober-line?var-line=hk-sg-1&var-source_region=ap-east-1",
            ),
        ],
    )
}

/// A region that is to blame: no line, no owner, one side only. In no other scene, or it would mute that.
pub(crate) fn region() -> Value {
    alert(
        "region",
        "RegionDegraded",
        &[
            ("severity", "critical"),
            ("component", "region"),
            ("region", "eu-west-1"),
            ("blame", "target"),
            ("target_region", "eu-west-1"),
        ],
        &[
            ("summary", "three of four regions reach eu-west-1 badly"),
            ("value", "75%"),
            ("runbook", "docs/runbook.md#regiondegraded"),
            ("dashboard", "/d/xprober-overview"),
        ],
    )
}

/// More than a message lists, both severities, texts long enough for WeCom's limit to end the list first.
pub(crate) fn many() -> Vec<Value> {
    let alert = |number: u32| {
        let line = format!("专线-{number:02}");
        let summary = format!("line {line}: {} packets were lost in five minutes", "many ".repeat(8));
        let is_urgent = number.is_multiple_of(3);
        alert(
            "many",
            if is_urgent {
                "LineLossOverBudget"
            } else {
                "RttStepChange"
            },
            &[
                ("severity", if is_urgent { "critical" } else { "warning" }),
                ("component", "line"),
                ("line", &line),
                ("circuit", "CT-10086"),
                ("carrier", "carrier of the line"),
                ("owner", "netops"),
                ("source_region", "ap-east-1"),
                ("target_region", "ap-southeast-1"),
            ],
            &[
                ("summary", &summary),
                ("value", "2.5%"),
                ("runbook", "https://wiki.example.com/runbook#loss"),
                ("dashboard", "/d/xprober-line?var-line=x"),
            ],
        )
    };
    (1..=13).map(alert).collect()
}

/// Every hostile text as summary, line and value of an alert of its own, in one message.
pub(crate) fn hostile_together() -> Vec<Value> {
    let all = HOSTILE.iter().enumerate();
    all.map(|(number, text)| hostile("hostile", &format!("hostile-{number:02}"), text))
        .collect()
}

/// A hostile text in an alert of the scene; `circuit` tells which.
pub(crate) fn hostile(scene: &str, circuit: &str, text: &str) -> Value {
    alert(
        scene,
        "LineAsymmetric",
        &[
            ("severity", "warning"),
            ("circuit", circuit),
            ("line", text),
            ("owner", text),
            ("source_region", text),
        ],
        &[
            ("summary", text),
            ("value", text),
            ("runbook", text),
            ("dashboard", text),
        ],
    )
}

/// Every text far longer than a robot takes, in characters of several bytes.
pub(crate) fn huge() -> Value {
    let text = "🔥<".repeat(3000);
    let labels = [
        "line",
        "circuit",
        "carrier",
        "owner",
        "region",
        "blame",
        "target",
        "stage",
        "instance",
        "source_region",
        "target_region",
    ];
    let labels: Vec<_> = labels.iter().map(|label| (*label, text.as_str())).collect();
    let annotations = ["summary", "description", "value", "runbook", "dashboard"].map(|name| (name, text.as_str()));
    alert("huge", "LineAsymmetric", &labels, &annotations)
}
