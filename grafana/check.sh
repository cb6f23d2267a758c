#!/usr/bin/env bash
# Checks the rules, their tests and the sample configurations, with promtool and amtool from PATH, and with vmalert and vmalert-tool
# where they exist. Runs from anywhere; exits non-zero at the first problem.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for tool in promtool amtool; do
  if ! command -v "$tool" >/dev/null; then
    echo "grafana/check.sh: $tool is not on PATH (Debian packages: prometheus, prometheus-alertmanager)" >&2
    exit 1
  fi
done

promtool check rules grafana/rules/*.yml
promtool test rules grafana/rules/tests/*.yml
promtool check config config/prometheus.yml
amtool check-config config/alertmanager.yml

# Who gets which alert: the watchdog nobody, everything else the webhook.
amtool config routes test --config.file=config/alertmanager.yml --verify.receivers=nobody alertname=Watchdog
amtool config routes test --config.file=config/alertmanager.yml --verify.receivers=webhook \
  alertname=LineLatencyOverBudget line=hk-sg-1 owner=netops

if command -v vmalert >/dev/null; then
  vmalert -dryRun -loggerLevel=ERROR -rule='grafana/rules/*.yml'
fi

# The same tests in VictoriaMetrics' dialect (vmalert-tool comes with 1.93 and later).
if command -v vmalert-tool >/dev/null; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -r grafana/rules/. "$copy"
  sed -i 's/promql_expr_test/metricsql_expr_test/' "$copy"/tests/*.yml
  vmalert-tool unittest --disableAlertgroupLabel --files="$copy/tests/*.yml"
fi
