#!/bin/sh
# For RUSTC_WORKSPACE_WRAPPER: instruments the crates of this workspace for libFuzzer, as cargo-fuzz does, and nothing else.
# Build scripts run on their own, without a fuzzer to report to.
set -eu
for argument; do
    case $argument in
    build_script_*) exec "$@" ;;
    esac
done
exec "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=on -Coverflow-checks=on
