"""Files as labelling tools write them: boxes without masks, and other habits."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdlm_cli.errors import InputError
from pdlm_cli.manifest import open_manifest
from pdlm_cli.sources import MaskReader, open_with_sources
from tests.cli.support import Dataset, box_mask, rle

BOX = [3, 2, 10, 5]


def boxes(dataset: Dataset, **fields: Any) -> Path:
    """Three annotations of an image of 40 by 30 pixels; the first two are boxes alone, as their fields say."""
    image = dataset.image()
    dataset.region(image)
    dataset.region(image)
    dataset.region(image, bbox=[0, 0, 40, 30])
    for annotation in dataset.coco["annotations"][:2]:
        del annotation["segmentation"]
        annotation |= {"bbox": BOX, **fields}
    return dataset.write()


@pytest.mark.parametrize("fields", [{}, {"segmentation": []}, {"segmentation": None}], ids=str)
def test_boxes_are_masks_only_where_that_is_asked_for(
    dataset: Dataset, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = boxes(dataset, **fields)
    with caplog.at_level(logging.WARNING, "pdlm"):
        (entry,) = open_manifest(path)
    assert "2 annotations have a box and no mask; --format coco-boxes takes the box for it" in caplog.text
    assert entry.regions[0].segmentation == fields.get("segmentation")

    found, sources = open_with_sources(str(path), format="coco-boxes")
    (entry,) = found
    masks = MaskReader(sources, entry)
    drawn = [masks.pixels(region, (40, 30)) for region in entry.regions]
    assert np.array_equal(drawn[0], box_mask(40, 30, *BOX))
    assert np.array_equal(rle(drawn[2])["counts"], dataset.coco["annotations"][2]["segmentation"]["counts"])


def test_a_file_of_boxes_alone_says_how_to_read_it(dataset: Dataset) -> None:
    path = boxes(dataset)
    del dataset.coco["annotations"][2]
    path.write_text(json.dumps(dataset.coco))
    with pytest.raises(InputError, match=r"no annotation has a 'segmentation'.*; --format coco-boxes takes boxes"):
        open_manifest(path)
