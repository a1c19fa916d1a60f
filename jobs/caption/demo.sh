#!/usr/bin/env bash
# bash jobs/caption/demo.sh [more options of pdlm caption]
#
# The example pictures (2 pictures, 5 regions) with the checkpoint that ships. `make demo` runs this file with the
# pdlm of .venv; any other pdlm on PATH does as well. OUT=FOLDER writes elsewhere. Every value that shapes the
# captions is written out, so that this file says what was run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

exec pdlm caption \
    --input examples/coco/masks.json \
    --images examples \
    --output "${OUT:-out/demo}" \
    --steps 32 \
    --length 32 \
    --seed 0 \
    "$@"
