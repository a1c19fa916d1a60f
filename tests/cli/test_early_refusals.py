"""Settings of decoding that do not go together are refused before torch is imported, which alone takes seconds."""

import subprocess
import sys

import pytest

from tests.cli.support import REPOSITORY

PHOTO = str(REPOSITORY / "examples/photo/demo.jpg")
MASK = str(REPOSITORY / "examples/photo/demo_mask_0.jpg")
REMASK = ["--cache", "delayed", "--sampler", "remask"]
GUIDED = ["--cache", "delayed", "--cfg-scale", "1"]
UNEVEN = ["--length", "8", "--block", "3"]
RUN_MAIN = """
import sys
from pdlm_cli.main import main
try:
    main({})
except SystemExit as end:
    print(end.code, *sorted({{"torch", "transformers"}} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caption", "--input", "no.json", *REMASK], "use cache exact"),
        (["show", PHOTO, MASK, *GUIDED], "use cache exact"),
        (["eval", "scenes", *REMASK], "use cache exact"),
        (["bench", "throughput", *GUIDED], "use cache exact"),
        (["eval", "questions", *UNEVEN], "expected a block length that divides the answer length"),
        (["chat", PHOTO, "What is it?", *UNEVEN], "expected a block length that divides the answer length"),
    ],
    ids=lambda given: " ".join(given[:2]) if isinstance(given, list) else "",
)
def test_nothing_is_loaded_to_refuse_settings(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-c", RUN_MAIN.format(arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"], done.stderr
    assert message in " ".join(done.stderr.split())
