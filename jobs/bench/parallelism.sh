#!/usr/bin/env bash
# bash jobs/bench/parallelism.sh [more options of pdlm bench parallelism]
#
# Figure 1c of the paper at 100 million parameters: the same four masks at one, two and four a pass. OUT=FOLDER writes
# elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/parallelism}"

pdlm bench parallelism \
    --output "$out" \
    --random-weights 100m \
    --vocabulary 126464 \
    --tiles 7 \
    --values 1,2,4 \
    --steps 32 \
    --length 32 \
    --baseline released,ar \
    --part-steps 2 \
    --part-regions 1 \
    --repeats 3 \
    "$@"
