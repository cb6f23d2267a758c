#!/usr/bin/env bash
# Gets the programs that the tests and the demo run: Prometheus, promtool, Alertmanager, amtool, VictoriaMetrics, vmalert.
# With the argument "bench" those that `make bench-probe` measures beside ours, too: fping, smokeping_prober.
# With the argument "versions" Prometheus (with promtool) and VictoriaMetrics (with vmagent, vmalert and, from trixie on, vmalert-tool)
# of three Debian releases side by side, under versions/<release>/bin, whatever the system has: receivers and dialects of PromQL
# differ, and what we say about them is shown on all.
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
versions=(bookworm trixie sid)
# program:package; those of bookworm lack the last.
of_version=(
  prometheus:prometheus
  promtool:prometheus
  victoria-metrics:victoria-metrics
  vmagent:victoria-metrics
  vmalert:victoria-metrics
  vmalert-tool:victoria-metrics
)
case ${1-} in
'' | versions) ;;
bench) wanted+=(fping:fping prometheus-smokeping-prober:prometheus-smokeping-prober) ;;
*)
  printf 'usage: %s [bench|versions]\n' "$0" >&2
  exit 2
  ;;
esac

say() { printf 'tools: %s\n' "$*" >&2; }

fail() {
  say "$1"
  say "$advice"
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

# Says whether a release has a program.
has_program() { [[ $1:$2 != bookworm:vmalert-tool ]]; }

# Prints the releases of which a program is missing.
missing_versions() {
  local release entry
  for release in "${versions[@]}"; do
    for entry in "${of_version[@]}"; do
      [[ -x $tools/versions/$release/bin/${entry%%:*} ]] && continue
      has_program "$release" "${entry%%:*}" || continue
      printf '%s ' "$release"
      break
    done
  done
}

# What is still to be fetched, for people; empty when nothing is.
to_fetch() {
  if [[ $kind == versions ]]; then
    missing_versions
  else
    find_missing
    printf '%s' "${missing[*]-}"
  fi
}

kind=${1-}
if [[ -z $(to_fetch) ]]; then
  exit 0
fi
exec 9>"$tools/.lock"
if ! flock -n 9; then
  say "another run is fetching; waiting for it"
  flock 9
fi
wanted_now=$(to_fetch)
if [[ -z $wanted_now ]]; then
  exit 0
fi
find_missing
if [[ $kind == versions ]]; then
  advice="nothing else can stand in for these: the tests that need prometheus and victoria-metrics of ${versions[*]} fail without them"
else
  advice="install these packages yourself, or put the programs on PATH: ${packages[*]}"
fi

say "missing: $wanted_now"
for program in apt-get dpkg; do
  type -P "$program" >/dev/null || fail "this machine has no $program (it is not Debian or a relative)"
done

# Makes a package state of our own in $tools/apt, beside the system's.
prepare_state() {
  state=$tools/apt
  rm -rf "$state/lists" "$state/cache" "$state/debs"
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
}

# Prints the archive that the system takes Debian itself from. One that only relatives of Debian use knows none of the releases.
mirror() {
  local codename found
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME-}")
  found=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -v release="$codename" '$1 == release && $2 == "main" && $3 ~ /\/debian\/?$/ {print $3; exit}')
  printf '%s' "${found:-http://deb.debian.org/debian}"
}

# Lets the package state know nothing but one release.
use_release() {
  local release=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -r $keyring ]] || fail "$keyring is not there: install the package debian-archive-keyring"
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$(mirror)" "$release" >"$state/$release.list"
  cat >>"$state/apt.conf" <<EOF
Dir::Etc::sourcelist "$state/$release.list";
Dir::Etc::sourceparts "/dev/null";
EOF
}

apt() {
  if ! apt-get -q -c "$state/apt.conf" "$@" >"$state/log" 2>&1 9>&-; then
    sed 's/^/tools:   /' "$state/log" >&2
    return 1
  fi
}

# "update" succeeds with warnings when a source cannot be reached.
read_lists() {
  say "reading the package lists${1:+ of $1}"
  apt update || fail "the package lists${1:+ of $1} could not be read (is the machine offline?)"
}

# Downloads a package and unpacks it to a folder, whole or not at all.
fetch() {
  local package=$1 folder=$2
  say "downloading $package"
  rm -f "$state/debs/${package}"_*.deb
  (cd "$state/debs" && apt download "$package") || fail "$package could not be downloaded (offline, or not in this release)"
  say "unpacking $package"
  rm -rf "$folder.new"
  mkdir -p "$folder.new"
  dpkg -x "$state/debs/${package}"_*.deb "$folder.new"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
}

# Fails unless a program can run here.
check_runs() {
  local binary=$1
  [[ -x $binary ]] || fail "the package has no program $binary"
  if ldd "$binary" 2>/dev/null | grep 'not found' >&2; then
    fail "$binary needs libraries that this machine does not have"
  fi
}

fetch_release() {
  local release=$1 place=$tools/versions/$1 entry program package
  prepare_state
  use_release "$release"
  read_lists "$release"
  mkdir -p "$place/bin"
  fetch prometheus "$place/prometheus"
  fetch victoria-metrics "$place/victoria-metrics"
  for entry in "${of_version[@]}"; do
    program=${entry%%:*} package=${entry##*:}
    has_program "$release" "$program" || continue
    if [[ ! -x $place/$package/usr/bin/$program ]]; then
      # Split off into a package of its own name, as promtool is from trixie on.
      package=$program
      fetch "$package" "$place/$package"
    fi
    check_runs "$place/$package/usr/bin/$program"
    ln -sfn "../$package/usr/bin/$program" "$place/bin/$program"
  done
}

fetch_missing() {
  local package program entry
  prepare_state
  read_lists
  for package in "${packages[@]}"; do
    fetch "$package" "$tools/root/$package"
  done
  for program in "${missing[@]}"; do
    for entry in "${wanted[@]}"; do
      [[ ${entry%%:*} == "$program" ]] && package=${entry##*:}
    done
    if [[ ! -x $tools/root/$package/usr/bin/$program ]]; then
      # Debian 13 split some programs off into packages of their own name, promtool for one.
      package=$program
      fetch "$package" "$tools/root/$package"
    fi
    check_runs "$tools/root/$package/usr/bin/$program"
    ln -sfn "../root/$package/usr/bin/$program" "$tools/bin/$program"
  done
}

if [[ $kind == versions ]]; then
  for release in $wanted_now; do
    fetch_release "$release"
  done
else
  fetch_missing
fi
rm -rf "$state/lists" "$state/cache" "$state/debs"
say "unpacked under $tools: $wanted_now"
