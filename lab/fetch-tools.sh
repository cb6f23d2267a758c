#!/usr/bin/env bash
# Gets the programs that the tests and the demo run: Prometheus, promtool, Alertmanager, amtool, VictoriaMetrics, vmalert.
# With the argument "bench" those that `make bench-probe` measures beside ours, too: fping, smokeping_prober.
#
# What is on PATH is used as it is. The rest is downloaded from the distribution's own archive and unpacked under
# $XPROBER_TOOLS (default: target/tools), with links in its bin folder. Nothing is installed, no service is started, the
# system's package state is neither read for writing nor changed; root is not needed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${XPROBER_TOOLS:-$here/../target/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)

# program:package
wanted=(
  prometheus:prometheus
  promtool:prometheus
  prometheus-alertmanager:prometheus-alertmanager
  amtool:prometheus-alertmanager
  victoria-metrics:victoria-metrics
  vmalert:victoria-metrics
)
case ${1-} in
'') ;;
bench) wanted+=(fping:fping prometheus-smokeping-prober:prometheus-smokeping-prober) ;;
*)
  printf 'usage: %s [bench]\n' "$0" >&2
  exit 2
  ;;
esac

say() { printf 'tools: %s\n' "$*" >&2; }

fail() {
  say "$1"
  say "install these packages yourself, or put the programs on PATH: ${packages[*]}"
  exit 1
}

# PATH without our own bin folder, or a second run would take its own links for the system's programs.
system_path=$(printf '%s' "$PATH" | tr : '\n' | grep -vxF "$tools/bin" | paste -sd :)

# Prints the program's place on the system, if it has one. Upstream's archives call Alertmanager by its bare name.
on_system() {
  local name
  for name in "$1" "${1#prometheus-}"; do
    PATH=$system_path type -P "$name" && return 0
  done
  return 1
}

present() { [[ -x $tools/bin/$1 ]] || on_system "$1" >/dev/null; }

find_missing() {
  missing=()
  packages=()
  local entry
  for entry in "${wanted[@]}"; do
    present "${entry%%:*}" && continue
    missing+=("${entry%%:*}")
    [[ " ${packages[*]-} " == *" ${entry##*:} "* ]] || packages+=("${entry##*:}")
  done
}

find_missing
if ((${#missing[@]} == 0)); then
  exit 0
fi

exec 9>"$tools/.lock"
if ! flock -n 9; then
  say "another run is fetching; waiting for it"
  flock 9
fi
find_missing
if ((${#missing[@]} == 0)); then
  exit 0
fi

say "missing: ${missing[*]}"
for program in apt-get dpkg; do
  type -P "$program" >/dev/null || fail "this machine has no $program (it is not Debian or a relative)"
done

state=$tools/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/debs"
# After the system's settings (sources, proxies), so that these win: state of our own, no hooks, no indexes but packages.
cat >"$state/apt.conf" <<EOF
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$state/cache";
Dir::Log "$state";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-hidpi::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::Retries "3";
EOF

apt() {
  if ! apt-get -q -c "$state/apt.conf" "$@" >"$state/log" 2>&1 9>&-; then
    sed 's/^/tools:   /' "$state/log" >&2
    return 1
  fi
}

say "reading the package lists"
apt update || fail "the package lists could not be read (is the machine offline?)"
# "update" succeeds with warnings when a source cannot be reached.
fetch() {
  local package=$1
  say "downloading $package"
  rm -f "$state/debs/${package}"_*.deb
  (cd "$state/debs" && apt download "$package") || fail "$package could not be downloaded (offline, or not in this release)"
  say "unpacking $package"
  rm -rf "$tools/root/$package.new"
  mkdir -p "$tools/root/$package.new"
  dpkg -x "$state/debs/${package}"_*.deb "$tools/root/$package.new"
  rm -rf "$tools/root/$package"
  mv "$tools/root/$package.new" "$tools/root/$package"
}

for package in "${packages[@]}"; do
  fetch "$package"
done

for program in "${missing[@]}"; do
  for entry in "${wanted[@]}"; do
    [[ ${entry%%:*} == "$program" ]] && package=${entry##*:}
  done
  if [[ ! -x $tools/root/$package/usr/bin/$program ]]; then
    # Debian 13 split some programs off into packages of their own name, promtool for one.
    package=$program
    fetch "$package"
  fi
  binary=$tools/root/$package/usr/bin/$program
  [[ -x $binary ]] || fail "package $package has no program $program"
  if ldd "$binary" 2>/dev/null | grep 'not found' >&2; then
    fail "$program needs libraries that this machine does not have"
  fi
  ln -sfn "../root/$package/usr/bin/$program" "$tools/bin/$program"
done
rm -rf "$state/lists" "$state/cache" "$state/debs"
say "unpacked under $tools: ${missing[*]}"
