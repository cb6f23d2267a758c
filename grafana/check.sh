#!/usr/bin/env bash
# Checks the rules, their tests and the sample configurations, with promtool and amtool from PATH, and with every promtool, vmalert
# and vmalert-tool that `lab/fetch-tools.sh versions` unpacked: Prometheus 2.42, 2.53 and 3.x, VictoriaMetrics 1.79, 1.112 and 1.145.
# Says what it skips. Runs from anywhere; exits non-zero at the first problem.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'grafana/check.sh: %s\n' "$*" >&2; }

for tool in promtool amtool; do
  if ! command -v "$tool" >/dev/null; then
    say "$tool is not on PATH (Debian packages: prometheus, prometheus-alertmanager)"
    exit 1
  fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command, showing its output only when it fails.
quietly() {
  if ! "$@" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    say "failed: $*"
    exit 1
  fi
}

# The version that a program says it has, or nothing.
version() { { "$1" --version 2>&1 || true; } | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }

grafana/fast.sh --check

# Who gets which alert, and with which others in one message.
for config in config/alertmanager.yml config/fast/alertmanager.yml; do
  quietly amtool check-config "$config"
  quietly amtool config routes test --config.file="$config" --verify.receivers=nobody alertname=Watchdog
  for alert in $(sed -n 's/^ *- alert: //p' grafana/rules/alerts.yml | sort -u | grep -v '^Watchdog$'); do
    quietly amtool config routes test --config.file="$config" --verify.receivers=webhook "alertname=$alert" owner=netops
  done
done

# Prometheus of every release at hand, that of PATH first; each version once.
tools=${XPROBER_TOOLS:-target/tools}
seen=" "
for promtool in "$(command -v promtool)" "$tools"/versions/{bookworm,trixie,sid}/bin/promtool; do
  [[ -x $promtool ]] || { say "skipped: $promtool is not there (lab/fetch-tools.sh versions gets it)"; continue; }
  found=$(version "$promtool")
  [[ $seen == *" $found "* ]] && continue
  seen+="$found "
  quietly "$promtool" check rules grafana/rules/*.yml grafana/rules/fast/*.yml
  quietly "$promtool" check config config/prometheus.yml
  quietly "$promtool" check config config/fast/prometheus.yml
  quietly "$promtool" test rules grafana/rules/tests/*.yml
  say "promtool $found: rules, configurations and tests pass"
done

# The same rules in VictoriaMetrics' dialect.
for vmalert in "$(command -v vmalert || echo vmalert)" "$tools"/versions/{bookworm,trixie,sid}/bin/vmalert; do
  [[ -x $vmalert ]] || { say "skipped: $vmalert is not there (lab/fetch-tools.sh versions gets it)"; continue; }
  quietly "$vmalert" -dryRun -loggerLevel=ERROR -rule='grafana/rules/*.yml' -rule='grafana/rules/fast/*.yml'
  say "$vmalert reads the rules"
done

# The same tests; vmalert-tool comes with 1.93 and later and asks a server for each rule, so one of them has to do, the newest.
cp -r grafana/rules/. "$work/rules"
sed -i 's/promql_expr_test/metricsql_expr_test/' "$work"/rules/tests/*.yml
for tool in "$tools"/versions/{sid,trixie}/bin/vmalert-tool "$(command -v vmalert-tool || echo vmalert-tool)"; do
  [[ -x $tool ]] || { say "skipped: $tool is not there (lab/fetch-tools.sh versions gets it)"; continue; }
  quietly "$tool" unittest --disableAlertgroupLabel --files="$work/rules/tests/*.yml"
  say "$tool: tests pass"
  break
done
