#!/usr/bin/env bash
# Gets the programs that the tests and the demo run: Prometheus, promtool, Alertmanager, amtool, VictoriaMetrics, vmalert.
# With the argument "bench" those that `make bench-probe` measures beside ours, too: fping, smokeping_prober.
# With the argument "versions" Prometheus (with promtool) and VictoriaMetrics (with vmagent, vmalert and, from trixie on, vmalert-tool)
# of three Debian releases side by side, and Alertmanager (with amtool) of the newest, under versions/<release>/bin, whatever the
# system has: receivers and dialects of PromQL differ, and what we say about them is shown on all; robots of chat groups need
# an Alertmanager that is newer than those of stable releases.
# With the argument "browser" headless Chromium, which looks at the planner's page, with those libraries and fonts that the
# system lacks: about 100 MB to download on a machine with a desktop's libraries, 170 MB on a bare one.
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
# Sets program:package of a release.
programs_of() {
  programs=(
    prometheus:prometheus
    promtool:prometheus
    victoria-metrics:victoria-metrics
    vmagent:victoria-metrics
    vmalert:victoria-metrics
  )
  [[ $1 == bookworm ]] || programs+=(vmalert-tool:victoria-metrics)
  [[ $1 != sid ]] || programs+=(prometheus-alertmanager:prometheus-alertmanager amtool:prometheus-alertmanager)
}
case ${1-} in
'' | versions) ;;
bench) wanted+=(fping:fping prometheus-smokeping-prober:prometheus-smokeping-prober) ;;
browser) wanted=() ;;
*)
  printf 'usage: %s [bench|versions|browser]\n' "$0" >&2
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

# Prints the releases of which a program is missing.
missing_versions() {
  local release entry programs
  for release in "${versions[@]}"; do
    programs_of "$release"
    for entry in "${programs[@]}"; do
      [[ -x $tools/versions/$release/bin/${entry%%:*} ]] && continue
      printf '%s ' "$release"
      break
    done
  done
}

browsers=(chromium-headless-shell chromium chromium-browser google-chrome)

# Prints the package to fetch, unless the system has a browser of this family or we do.
missing_browser() {
  local name
  for name in "${browsers[@]}"; do
    PATH=$system_path type -P "$name" >/dev/null && return 0
  done
  [[ -x $tools/bin/${browsers[0]} ]] || printf '%s' "${browsers[0]}"
}

# What is still to be fetched, for people; empty when nothing is.
to_fetch() {
  if [[ $kind == versions ]]; then
    missing_versions
  elif [[ $kind == browser ]]; then
    missing_browser
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
  advice="nothing else can stand in for these: the tests that need prometheus and victoria-metrics of ${versions[*]} or alertmanager of sid fail without them"
elif [[ $kind == browser ]]; then
  advice="install the package chromium yourself, or put one of these on PATH: ${browsers[*]}"
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
  local release=$1 place=$tools/versions/$1 entry program package programs
  programs_of "$release"
  prepare_state
  use_release "$release"
  read_lists "$release"
  mkdir -p "$place/bin"
  for entry in "${programs[@]}"; do
    program=${entry%%:*} package=${entry##*:}
    # What an earlier run of this script has unpacked stays.
    [[ -x $place/bin/$program ]] && continue
    [[ -d $place/$package ]] || fetch "$package" "$place/$package"
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

# Most bytes that a browser with everything it needs may download.
most_browser_bytes=300000000

# Unpacks the browser and what it needs beside the system's packages, and writes the program that starts it there.
fetch_browser() {
  local package=${browsers[0]} root=$tools/browser bytes deb
  prepare_state
  read_lists
  # Nothing is installed: apt works out what the system lacks, and only downloads that.
  local install=(-o Debug::NoLocking=true -o APT::Install-Recommends=false -y install "$package")
  bytes=$(apt-get -qq -c "$state/apt.conf" --print-uris "${install[@]}" 2>"$state/log" |
    awk '/^\047/ {sum += $3} END {print sum + 0}') || bytes=0
  ((bytes > 0)) || fail "$package is not in this release"
  ((bytes <= most_browser_bytes)) || fail "$package and what it needs are $((bytes / 1000000)) MB, more than is meant"
  say "downloading $package and what it needs, $((bytes / 1000000)) MB"
  apt --download-only "${install[@]}" || fail "$package could not be downloaded (is the machine offline?)"
  say "unpacking $package"
  rm -rf "$root.new"
  mkdir -p "$root.new"
  for deb in "$state"/cache/archives/*.deb; do
    dpkg -x "$deb" "$root.new"
  done
  # An unpacked fontconfig has no settings: its installation makes them.
  cat >"$root.new/fonts.conf" <<EOF
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias binding="same"><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias binding="same"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
EOF
  cat >"$root.new/start" <<'EOF'
#!/bin/sh
# Starts the unpacked browser with the libraries and fonts beside it.
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(printf '%s:' "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu "$here"/usr/lib/*-linux-gnu/pulseaudio)
FONTCONFIG_FILE=$here/fonts.conf
export LD_LIBRARY_PATH FONTCONFIG_FILE
exec "$here/usr/lib/chromium/chromium-headless-shell" "$@"
EOF
  chmod +x "$root.new/start"
  rm -rf "$root"
  mv "$root.new" "$root"
  "$root/start" --version >"$state/log" 2>&1 || fail "the browser does not start: $(cat "$state/log")"
  ln -sfn ../browser/start "$tools/bin/$package"
}

if [[ $kind == versions ]]; then
  for release in $wanted_now; do
    fetch_release "$release"
  done
elif [[ $kind == browser ]]; then
  fetch_browser
else
  fetch_missing
fi
rm -rf "$state/lists" "$state/cache" "$state/debs"
say "unpacked under $tools: $wanted_now"
