#!/usr/bin/env bash
# bash jobs/bench/length.sh [more options of pdlm bench length]
#
# Table 11 of the paper, its times, at 100 million parameters: captions of 16, 32 and 64 slots. OUT=FOLDER writes
# elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/length}"

pdlm bench length \
    --output "$out" \
    --random-weights 100m \
    --vocabulary 126464 \
    --tiles 7 \
    --regions 6 \
    --values 16,32,64 \
    --steps 32 \
    --repeats 3 \
    "$@"
