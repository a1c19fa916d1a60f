#!/usr/bin/env bash
# bash jobs/bench/e2e.sh [more options of pdlm bench e2e]
#
# A whole run of the checkpoint that ships over 300 drawn scenes, by stages. OUT=FOLDER writes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/e2e}"

pdlm bench e2e \
    --output "$out" \
    --pictures 300 \
    --steps 32 \
    --length 32 \
    --repeats 3 \
    "$@"
