#!/usr/bin/env bash
# bash jobs/bench/steps.sh [more options of pdlm bench steps]
#
# Table 9 of the paper, its times, at 100 million parameters: 16 to 64 denoising steps. OUT=FOLDER writes elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/bench/steps}"

pdlm bench steps \
    --output "$out" \
    --random-weights 100m \
    --vocabulary 126464 \
    --tiles 7 \
    --regions 6 \
    --values 16,32,48,64 \
    --length 32 \
    --baseline released \
    --part-steps 2 \
    --repeats 3 \
    "$@"
