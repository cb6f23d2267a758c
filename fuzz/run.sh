#!/usr/bin/env bash
# Builds the fuzzer and runs every target for a while, as many at a time as there are cores:
#
#   fuzz/run.sh [SECONDS] [TARGET...]
#
# The compiler of the pinned toolchain can instrument code for libFuzzer; neither nightly nor clang is needed. Only the crates
# of this workspace are instrumented (fuzz/instrument.sh), so that their dependencies come from the ordinary builds.
# What was found interesting stays under target/fuzz/corpus for the next run; inputs that break a promise are left under
# target/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-8}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(payload received spoilt returned plan hello respelt)

root=${CARGO_TARGET_DIR:-target}
fuzzer=$root/debug/xprober-fuzz
work=$root/fuzz

command -v "${CXX:-c++}" >/dev/null || {
    echo "fuzz: libFuzzer needs a C++ compiler: apt-get install g++" >&2
    exit 1
}

# Nothing here does TLS, so its crates are not worth the time that optimising them takes.
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/instrument.sh "${CARGO:-cargo}" build --locked \
    -p xprober-fuzz --features libfuzzer --bin xprober-fuzz \
    --config profile.dev.package.ring.opt-level=0 --config profile.dev.package.rustls.opt-level=0

stat() { # name, log
    sed -n "s/^stat::$1: *//p" "$2"
}

run() { # target
    local target=$1 log=$work/$1.log status=0
    mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
    FUZZ_TARGET=$target FUZZ_SEEDS=$work/seeds/$target "$fuzzer" \
        -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$work/artifacts/$target/" "$work/corpus/$target" "$work/seeds/$target" >"$log" 2>&1 || status=$?
    if ((status)); then
        sed -n '/panicked at/,/stack backtrace/p; /^SUMMARY/p' "$log" | grep -v 'stack backtrace' >&2 || tail -n 20 "$log" >&2
        echo "fuzz: $target failed; the whole log: $log" >&2
        sed -n "s|.*Test unit written to \(.*\)|fuzz: reproduce: FUZZ_TARGET=$target $fuzzer \1|p" "$log" >&2
        return 1
    fi
    local covered
    covered=$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")
    if ((${covered:-0} == 0)); then
        echo "fuzz: $target ran without instrumentation, which finds little: see $log" >&2
        return 1
    fi
    printf 'fuzz: %-9s %10d inputs %8d/s  %5d edges  %4d inputs kept  %4d MB\n' "$target" \
        "$(stat number_of_executed_units "$log")" "$(stat average_exec_per_sec "$log")" "$covered" \
        "$(find "$work/corpus/$target" -type f | wc -l)" "$(stat peak_rss_mb "$log")"
}

failed=0 running=0
for target in "${targets[@]}"; do
    if ((running == $(nproc))); then
        wait -n || failed=1
        running=$((running - 1))
    fi
    run "$target" &
    running=$((running + 1))
done
while ((running)); do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
