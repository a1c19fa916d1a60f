#!/usr/bin/env bash
# bash jobs/bench/throughput.sh [more options of pdlm bench throughput]
#
# Figure 1b of the paper at 100 million parameters: one to six regions a picture, against the published loop, one region
# at a time, and left to right. Of the slow ones a part is run, and the rest is the same work again. OUT=FOLDER writes
# elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/throughput}"

pdlm bench throughput \
    --output "$out" \
    --random-weights 100m \
    --vocabulary 126464 \
    --tiles 7 \
    --regions 6 \
    --values 1,2,4,6 \
    --steps 32 \
    --length 32 \
    --baseline released,sequential,ar \
    --part-steps 2 \
    --part-regions 1 \
    --repeats 3 \
    "$@"
