#!/usr/bin/env bash
# bash jobs/caption/demo.sh [more options of pdlm caption]
#
# The example scenes (8 pictures, 29 regions) with the checkpoint that ships, a page to look through, and a sheet of the
# pictures with their captions. `make demo` runs this file with the pdlm of .venv; any other pdlm on PATH does as well.
# OUT=FOLDER writes elsewhere. Every value that shapes the captions is written out, so that this file says what was run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out="${OUT:-out/demo}"

pdlm caption \
    --input examples/scenes/masks.json \
    --images examples/scenes \
    --output "$out" \
    --steps 32 \
    --length 32 \
    --seed 0 \
    --report \
    "$@"
pdlm show "$out"
