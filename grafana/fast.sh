#!/usr/bin/env bash
# Makes the "fast" files from the default ones, for agents that push every second instead of every five: rules/fast/*.yml,
# config/fast/prometheus.yml and config/fast/alertmanager.yml. Every duration in seconds and minutes is divided by five, in rules, comments and texts
# alike; hours and days stay, and so does a line that ends in "# not scaled". With --check it writes nothing and fails when a file is not in step.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
'' | --check) ;;
*)
  printf 'usage: %s [--check]\n' "$0" >&2
  exit 2
  ;;
esac

# Divides durations such as 5s, 20 s, 1m and 2 min by five. A number counts only where a word begins, so names like ratio_30s stay.
scale() {
  awk '
    function scaled(number, unit, space,   milliseconds) {
      milliseconds = number * (unit ~ /^m/ ? 60000 : 1000) / 5
      if (milliseconds % 1000 == 0) return milliseconds / 1000 space "s"
      return milliseconds space "ms"
    }
    /# not scaled$/ { print; next }
    {
      rest = $0
      out = ""
      while (match(rest, /[0-9]+ ?(s|min|m)/)) {
        before = substr(rest, 1, RSTART - 1)
        found = substr(rest, RSTART, RLENGTH)
        after = substr(rest, RSTART + RLENGTH)
        last = substr(out before, length(out before))
        unit = found
        sub(/^[0-9]+ ?/, "", unit)
        number = found + 0
        space = index(found, " ") ? " " : ""
        if (last ~ /[A-Za-z0-9_.:$-]/ || after ~ /^[A-Za-z0-9_]/) {
          out = out before found
        } else {
          out = out before scaled(number, unit, space)
        }
        rest = after
      }
      print out rest
    }' "$1"
}

made() {
  printf '# Made by grafana/fast.sh from %s for a push interval of 1 s; change that file and run the script again.\n#\n' "$1"
  scale "$1" | sed 's|\.\./grafana/rules/\*\.yml|../../grafana/rules/fast/*.yml|; s|config/\([a-z]*\)\.yml|config/fast/\1.yml|'
}

status=0
keep() {
  local from=$1 to=$2
  if [[ ${check-} ]]; then
    if ! diff -u --label "$to" --label "what grafana/fast.sh makes of $from" "$to" <(made "$from"); then
      echo "grafana/fast.sh: $to is not in step with $from; run grafana/fast.sh" >&2
      status=1
    fi
  else
    mkdir -p "$(dirname "$to")"
    made "$from" >"$to"
  fi
}

check=${1-}
for file in grafana/rules/*.yml; do
  keep "$file" "grafana/rules/fast/$(basename "$file")"
done
for name in prometheus alertmanager; do
  keep "config/$name.yml" "config/fast/$name.yml"
done
exit "$status"
