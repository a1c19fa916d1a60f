"""Memory over a long run: a real `pdlm caption` of many regions, all of it but the network."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from pdlm_cli.bench.points import Point
from pdlm_cli.bench.program import check_ended
from pdlm_cli.bench.usage import resident_bytes
from pdlm_cli.logs import log
from pdlm_cli.run_paths import RECORDS

REGIONS, QUICK_REGIONS = 100_000, 5_000
OF_A_PICTURE, SIDE = 50, 32
EARLY, PARTS = 10, 100  # parts that are done when memory is looked at first, and all of them
EVERY_S = 0.05
AXIS = "% of the regions"


def long_run(quick: bool) -> list[Point]:
    """Two points: the most that the process held up to EARLY parts, and from the last EARLY on. Raises DeviceError."""
    regions = QUICK_REGIONS if quick else REGIONS
    log.info("a run of %d regions, without the network", regions)
    with tempfile.TemporaryDirectory(prefix="pdlm-bench-") as name:
        folder = Path(name)
        _write_input(folder, regions)
        files = "--input", str(folder / "coco.json"), "--output", str(folder / "out")
        how = "--dry-run-model", "--part-rows", str(regions // PARTS), "--log-format", "plain"
        with (folder / "said").open("wb") as said:
            command = [sys.executable, "-m", "pdlm_cli", "caption", *files, *how]
            started = time.perf_counter()
            with subprocess.Popen(command, stdout=said, stderr=said) as process:  # nosec B603 # this very program
                seen = _watch(process, folder / "out" / RECORDS / "done", started)
        check_ended(process.returncode, (folder / "said").read_text(errors="replace"))
    early, late = [own for own in seen if own[0] <= EARLY], [own for own in seen if own[0] >= PARTS - EARLY]
    return [_point(EARLY, regions, early), _point(PARTS, regions, late or seen[-1:])]


def _write_input(folder: Path, regions: int) -> None:
    """Boxes in one picture, which stands for as many as there are to be."""
    Image.new("RGB", (SIDE, SIDE), "gray").save(folder / "picture.png")
    pictures = range(1, regions // OF_A_PICTURE + 1)
    box = [4, 4, 24, 4, 24, 24, 4, 24]
    image = {"file_name": "picture.png", "width": SIDE, "height": SIDE}
    coco = {
        "images": [{"id": number, **image} for number in pictures],
        "annotations": [
            {"id": OF_A_PICTURE * number + place, "image_id": number, "segmentation": [box]}
            for number in pictures
            for place in range(OF_A_PICTURE)
        ],
    }
    (folder / "coco.json").write_text(json.dumps(coco))


def _watch(process: "subprocess.Popen[bytes]", done: Path, started: float) -> list[tuple[int, float, int | None]]:
    """Parts that were done, seconds since it was started and bytes that it held, until it ends."""
    seen = []
    while process.poll() is None:
        parts = sum(1 for _ in done.glob("0*.json"))
        seen.append((parts, time.perf_counter() - started, resident_bytes(process.pid)))
        time.sleep(EVERY_S)
    return seen


def _point(share: int, regions: int, seen: list[tuple[int, float, int | None]]) -> Point:
    return Point(
        bench="long run",
        contender="pdlm caption",
        axis=AXIS,
        value=share,
        seconds=(seen[-1][1],),
        regions=regions * share // PARTS,
        peak_rss_bytes=max((held for _, _, held in seen if held is not None), default=None),
        note=f"{regions:,} regions, the network left out",
    )
