"""SA-1B: a folder of JSON files, one an image."""

import json
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import open_folder
from pdlm_cli.conversions.file_names import FileNames, picture_name, stem_of
from pdlm_cli.conversions.folders import sign
from pdlm_cli.conversions.numbers import id_number
from pdlm_cli.conversions.source import ConversionSource, sides
from pdlm_cli.regions import ImageEntry

HOLDS = ()


def write(source: ConversionSource, out: Path) -> None:
    """All files lie side by side; folders of a picture are part of the file name that they give. Raises OutputError."""
    names = FileNames()
    with open_folder(out) as folder, source.images() as entries:
        sign(folder)
        for entry in entries:
            about = json.dumps({"image": _image(entry, source), "annotations": _annotations(entry, source)})
            (folder / f"{names.give(stem_of(picture_name(entry)))}.json").write_text(about)


def _image(entry: ImageEntry, source: ConversionSource) -> dict[str, Any]:
    return {"image_id": id_number(entry.image_id), **sides(source.size(entry)), "file_name": entry.file_name}


def _annotations(entry: ImageEntry, source: ConversionSource) -> list[dict[str, Any]]:
    annotations = []
    for found in source.regions(entry):
        annotation = {"id": id_number(found.region.region_id), "segmentation": found.written}
        if found.mask is not None:
            annotation |= {"area": found.mask.area, "bbox": list(found.mask.bbox_xywh)}
        annotations.append(annotation)
    return annotations
