#!/usr/bin/env bash
# bash jobs/bench/memory.sh [more options of pdlm bench memory]
#
# Memory of batches of 1 to 8 full passes at 100 million parameters, beside what is planned. OUT=FOLDER writes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/memory}"

pdlm bench memory \
    --output "$out" \
    --random-weights 100m \
    --vocabulary 126464 \
    --tiles 7 \
    --values 1,2,4,8 \
    --steps 2 \
    --length 32 \
    --repeats 1 \
    "$@"
