#!/usr/bin/env bash
# bash jobs/bench/targets.sh [more options of pdlm bench targets]
#
# The table of targets: random weights of 70 million parameters in the decoder and 30 million in the tower, LLaDA's
# vocabulary, pictures of seven tiles of 512 pixels, six regions, 32 steps; on CUDA 8 billion. `make bench` runs this
# file with the pdlm of .venv. OUT=FOLDER writes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-docs/bench}"

pdlm bench targets \
    --output "$out" \
    --tiles 7 \
    --regions 6 \
    --steps 32 \
    --length 32 \
    --part-steps 2 \
    --part-regions 1 \
    --repeats 3 \
    --warmup 1 \
    --pictures 150 \
    "$@"
