"""Rows that are forwarded for nothing where adaptive decoding does not look after every step at what is done.

    python -m tests.look_cost

The checkpoint that ships and the regions of the example scenes, four passes and eight on the device at a time.
"""

from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image
from pycocotools.coco import COCO

from model import stream
from model.caption_rows import CaptionRows
from model.decode import caption_passes
from model.pdlm import PerceptionDLM, load_model
from model.preprocess import PreparedPass, prepare_image, prepare_pass
from model.settings import DecodeSettings
from tests.cli.support import REPOSITORY

SCENES = REPOSITORY / "examples/scenes"


def main() -> None:
    model = load_model(REPOSITORY / "model/tiny", dtype=torch.float32, device=torch.device("cpu"))
    assert isinstance(model, PerceptionDLM)
    passes = scene_passes(model, SCENES)
    print("| steps between looks | rows, four passes at a time | eight |\n|---|---|---|")
    for poll in (1, 2, 4):
        rows = [rows_forwarded(model, passes, poll, lanes) for lanes in (4, 8)]
        print(f"| {poll} | {rows[0]:,} | {rows[1]:,} |", flush=True)


def scene_passes(model: PerceptionDLM, folder: Path) -> list[PreparedPass]:
    """One for each picture, of as many of its regions as a pass takes."""
    scenes, passes = COCO(folder / "masks.json"), []
    for number, image in scenes.imgs.items():
        regions = scenes.imgToAnns[number][: model.config.regions.max_regions]  # type: ignore[union-attr]
        masks = torch.stack([torch.from_numpy(scenes.annToMask(region)) for region in regions]).bool().numpy()
        picture = prepare_image(Image.open(folder / image["file_name"]).convert("RGB"), model.config)
        passes.append(prepare_pass(picture, masks, model.config, seeds=[0] * len(masks)))
    return passes


def rows_forwarded(model: PerceptionDLM, passes: list[PreparedPass], poll: int, lanes: int) -> int:
    counted, forward = [], CaptionRows.forward

    def count(rows: CaptionRows, decoder: object, embeds: torch.Tensor) -> torch.Tensor:
        counted.append(len(rows.forwarded))
        return forward(rows, decoder, embeds)  # type: ignore[arg-type]

    with patch.object(CaptionRows, "forward", count), patch.object(stream, "steps_between_looks", lambda *_: poll):
        caption_passes(model, passes, DecodeSettings(), lanes=lanes)
    return sum(counted)


if __name__ == "__main__":
    main()
