#!/usr/bin/env bash
# Checks the files of this folder with amtool 0.32 or later: $AMTOOL, else that of lab/fetch-tools.sh, else the one on PATH.
# Runs from anywhere; exits non-zero at the first problem.
#
# With --write it first takes inhibit_rules and the grouping over from config/alertmanager.yml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=grafana/alertmanager
sample=$folder/alertmanager.yml
plain=config/alertmanager.yml
grouping='group_by|group_wait|group_interval|repeat_interval'

fail() {
  printf 'grafana/alertmanager/check.sh: %s\n' "$*" >&2
  exit 1
}

find_amtool() {
  local candidate version
  for candidate in "${AMTOOL-}" "${XPROBER_TOOLS:-target/tools}/versions/sid/bin/amtool" "$(type -P amtool)"; do
    [[ -n $candidate && -x $candidate ]] || continue
    version=$("$candidate" --version 2>&1 | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
    if printf '0.32\n%s\n' "$version" | sort --version-sort --check=quiet; then
      amtool=$candidate
      return
    fi
  done
  fail "no amtool 0.32 or later: run lab/fetch-tools.sh versions, or set AMTOOL"
}

# Prints the routes below which alerts wait for others, each as two lines without indentation.
later() {
  section route "$1" | awk '{sub(/^ +/, "")} /^group_wait:/ && before ~ /^- matchers:/ {print before; print} {before = $0}'
}

# Prints a top-level section of a YAML file.
section() {
  awk -v key="$1:" '/^[a-z]/ {on = ($1 == key)} on' "$2"
}

# What both samples must say alike, without comments: grouping, who waits for others, what mutes what.
shared() {
  section route "$1" | grep -E "^  ($grouping):" | sort
  later "$1" | sort -u
  section inhibit_rules "$1" | sed -E '/^ *(#.*)?$/d'
}

take_over() {
  local new
  new=$(mktemp)
  awk -v keys="$grouping" -v plain="$plain" -v later="$(later "$plain")" '
    BEGIN {
      while ((getline line < plain) > 0) {
        if (line ~ /^[a-z]/) {part = line; sub(/:.*/, "", part)}
        if (part == "inhibit_rules") {rules = rules line "\n"}
        if (part == "route" && line ~ "^  (" keys "):") {key = line; sub(/:.*/, "", key); value[key] = line}
      }
      part = ""
      gsub(/\n/, "\n          ", later)
      gsub(/  - matchers/, "- matchers", later)
    }
    /^[a-z]/ {part = $1; sub(/:.*/, "", part)}
    part == "inhibit_rules" {if (!done) {printf "%s", rules; done = 1}; next}
    /^      routes: &later$/ {print; print "        " later; skipping = 1; next}
    skipping && /^         *[^ ]/ {next}
    {skipping = 0}
    part == "route" && $0 ~ "^  (" keys "):" {key = $0; sub(/:.*/, "", key); if (key in value) {print value[key]; next}}
    {print}' "$sample" >"$new"
  cat "$new" >"$sample"
  rm "$new"
}

# Prints a template of this folder, filled in with an alert.
render() {
  "$amtool" template render --template.glob="$folder/*.tmpl" --template.data=<(alert) --template.text="{{ template \"$1\" . }}"
}

alert() {
  cat <<'EOF'
{"receiver": "webhook", "status": "firing", "externalURL": "http://localhost:9093", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
 "alerts": [{"status": "firing", "fingerprint": "1", "startsAt": "2026-01-02T03:04:05Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
  "labels": {"alertname": "LineLatencyOverBudget", "severity": "critical", "line": "hk-sg-1", "source_region": "hk", "target_region": "sg"},
  "annotations": {"summary": "hk-sg-1: over its budget", "value": "56%"}}]}
EOF
}

case ${1-} in
'') ;;
--write) take_over ;;
*)
  printf 'usage: %s [--write]\n' "$0" >&2
  exit 2
  ;;
esac

find_amtool
"$amtool" check-config "$sample"

diff <(shared "$plain") <(shared "$sample") ||
  fail "$plain (<) and $sample (>) differ in inhibit_rules or grouping; run $folder/check.sh --write"

# check-config does not notice that a template is missing: the message would be lost.
templates=$(grep -ohE 'template "xprober\.[a-z.]+"' "$sample" "$folder/README.md" | cut -d'"' -f2 | sort -u)
[[ -n $templates ]] || fail "$sample calls no template"
for name in $templates; do
  text=$(render "$name") || fail "template $name, which $sample or README.md calls, does not work"
  case $name in
  *.title.*) [[ $text == "xprober 1 "* && $text != *": "* ]] ;;
  *.color) [[ $text == red ]] ;;
  *.slack.*) [[ $text == "*xprober 1 "* && $text == *hk-sg-1* ]] ;;
  *.email.*) [[ $text == "xprober 1 "* && $text == *hk-sg-1* ]] ;;
  *) [[ $text == "**"* && $text == *hk-sg-1* ]] ;;
  esac || fail "template $name yields what Alertmanager would not take for text: $text"
done

for name in $(sed -n 's/^ *- alert: *//p' grafana/rules/alerts.yml); do
  grep -q "\"$name\"" "$folder/words-zh.tmpl" || fail "words-zh.tmpl has no name for $name"
done

# Who gets which alert.
while read -r receiver labels; do
  # shellcheck disable=SC2086 # each label is an argument
  answer=$("$amtool" config routes test --config.file="$sample" --verify.receivers="$receiver" $labels 2>&1) ||
    fail "an alert with $labels does not go to $receiver: $answer"
done <<'EOF'
nobody alertname=Watchdog severity=none component=xprober
dingtalk-zh alertname=LineLatencyOverBudget severity=critical line=hk-sg-1 owner=netops
dingtalk-zh alertname=RttStepChange severity=warning line=hk-sg-1 owner=netops
feishu-en alertname=LineLossOverBudget severity=critical line=fra-lon-1 owner=cloud
feishu-en alertname=LineAsymmetric severity=warning line=fra-lon-1 owner=cloud
wecom-zh alertname=RegionSilent severity=critical region=hk source_region=hk
wecom-zh alertname=LineLatencyOverBudget severity=critical line=a-b-1 owner=nobody-knows
email-en alertname=AgentSilent severity=warning instance=vm1
email-en alertname=HttpFailing severity=warning target=https://example.com/
webhook alertname=SomethingElse
EOF

echo "$folder: files, templates and routes are right"
