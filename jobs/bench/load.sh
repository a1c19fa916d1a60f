#!/usr/bin/env bash
# bash jobs/bench/load.sh [more options of pdlm bench load]
#
# From a new process to the first caption of the checkpoint that ships. OUT=FOLDER writes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/load}"

pdlm bench load \
    --output "$out" \
    --repeats 5 \
    --warmup 1 \
    "$@"
