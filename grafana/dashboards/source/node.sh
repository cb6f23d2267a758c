#!/usr/bin/env bash
# Prints the folder of a node (20.19 or later) with its npm: that of PATH, or one that is unpacked under $XPROBER_TOOLS
# (default: target/tools) from Debian's own archive, with every library that it needs. Nothing is installed, root is not needed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${XPROBER_TOOLS:-$here/../../../target/tools}
# The first release of Debian whose node can load what the checks load.
release=trixie

is_new_enough() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

say() { printf 'node: %s\n' "$*" >&2; }

fail() {
  say "$1"
  say "put node 20.19 or later and npm on PATH"
  exit 1
}

if type -P node npm >/dev/null && is_new_enough node; then
  dirname "$(type -P node)"
  exit
fi

mkdir -p "$tools"
place=$(cd "$tools" && pwd)/node
exec 9>"$tools/.node.lock"
flock 9
if [[ -x $place/bin/node ]] && is_new_enough "$place/bin/node"; then
  printf '%s\n' "$place/bin"
  exit
fi

for program in apt-get dpkg; do
  type -P "$program" >/dev/null || fail "this machine has neither a node nor $program (it is not Debian or a relative)"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keyring ]] || fail "$keyring is not there: install the package debian-archive-keyring"

# The archive that the system takes Debian itself from.
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME-}")
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  awk -v release="$codename" '$1 == release && $2 == "main" && $3 ~ /\/debian\/?$/ {print $3; exit}')

# A package state of its own in which nothing is installed: apt then wants every library, down to that of C.
rm -rf "$place"
state=$place/apt
mkdir -p "$state/lists/partial" "$state/archives/partial"
: >"$state/status"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "${mirror:-http://deb.debian.org/debian}" "$release" >"$state/sources.list"
cat >"$state/apt.conf" <<EOF
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Log "$state";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Debug::NoLocking "true";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages "none";
Acquire::Retries "3";
EOF
apt() {
  apt-get -q -c "$state/apt.conf" "$@" >"$state/log" 2>&1 9>&- || {
    sed 's/^/node:   /' "$state/log" >&2
    fail "$release's node could not be downloaded (is the machine offline?)"
  }
}
say "downloading node and npm of $release"
apt update
apt install --yes --download-only --no-install-recommends nodejs npm
say "unpacking"
for package in "$state"/archives/*.deb; do
  # npm can build packages that are not JavaScript; there are none here.
  case ${package##*/} in
  *-dev_* | *python3* | perl*) ;;
  *) dpkg -x "$package" "$place/root" ;;
  esac
done
rm -rf "$state"

# Started by the linker that its own libraries came with, because the system's may be older, and with its own /usr/share in
# place of the system's, because Debian's node looks for parts of itself there.
root=$place/root
linker=$(find "$root/usr" "$root/lib"* -name 'ld-linux*.so.*' 2>/dev/null | sort | head -n 1) || true
libraries=$(dirname "$(find "$root/usr" "$root/lib"* -name libc.so.6 2>/dev/null | sort | head -n 1)") || true
mkdir -p "$place/bin"
cat >"$place/bin/node" <<EOF
#!/bin/sh
map=
[ "\$(id -u)" = 0 ] || map=--map-root-user
exec unshare \$map --mount sh -c 'mount --bind "$root/usr/share" /usr/share && exec "\$@"' sh \\
  $linker --library-path $libraries $root/usr/bin/node "\$@"
EOF
cat >"$place/bin/npm" <<EOF
#!/bin/sh
exec $place/bin/node /usr/share/nodejs/npm/bin/npm-cli.js "\$@"
EOF
chmod +x "$place/bin/node" "$place/bin/npm"
is_new_enough "$place/bin/node" || fail "the node that was unpacked does not run"
printf '%s\n' "$place/bin"
