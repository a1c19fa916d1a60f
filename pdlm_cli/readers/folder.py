"""A folder, or an archive, of pictures with their masks:

masks/<stem>/<n>.png      a mask picture a region, its name the region's id
<stem>_<n>.png            the same beside the picture or in masks/; or <stem>_mask_<n>, in any format
masks/<stem>.png          one picture of all masks, whose values are the regions' ids
<stem>.json               beside the picture: {"masks": [...]} as in the plain list, SA-1B, or the list of regions that
                          SAM's generator of masks writes

Subfolders have a folder `masks` of their own, or one of their path in the `masks` at the top. The first layout that a
picture has counts.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np

from pdlm_cli.inputs import MAX_PIXELS
from pdlm_cli.logs import log
from pdlm_cli.mask_files import read_values
from pdlm_cli.readers import plain, sa1b
from pdlm_cli.readers.folder_files import Files, Take, folder_of, items_of, unreadable
from pdlm_cli.readers.json_shape import shape_of
from pdlm_cli.readers.records import ImageRecord, Records, RegionRecord, object_at
from pdlm_cli.stores import Store

NAME = "image-folder"
EXPECTED = "a folder of pictures with masks/<stem>/<n>.png, <stem>_<n>.png, masks/<stem>.png or <stem>.json each"
REGION_IDS: Final = "image"

# The last three are not read, and taken for pictures so that their regions are told of.
PICTURE = re.compile(
    r"(?P<stem>.+)\.(jpe?g|png|webp|bmp|tiff?|gif|(?P<unread>heic|heif|avif))", re.IGNORECASE | re.DOTALL
)
# Digits that int() takes, and no more than a 64-bit number has: names in archives may be endless.
NUMBER = re.compile(r"[0-9]{1,18}")
NUMBERED = re.compile(rf"(?P<stem>.+?)(?P<mask>_mask)?_(?P<number>{NUMBER.pattern})", re.DOTALL)
MASKS = "masks"


def read(store: Store, take: Take) -> Records:
    """All pictures that have masks, by name. Names of files are held in memory, their contents one at a time."""
    layout, files = _Layout(store.names()), Files(store, take)
    without = 0
    for picture in layout.pictures:
        regions = _regions(picture, layout, files)
        if regions is None:
            without += 1
            continue
        yield ImageRecord(picture, picture)
        yield from regions
    of_none = [name for names in layout.together.values() for name in names if name not in files.used]
    if without == len(layout.pictures):
        found = f" ({of_none[0]} is the mask of none)" if of_none else ""
        annotated = f"if {min(layout.json)} is an annotation file, name that; " if layout.json else ""
        raise ValueError(
            f"none of {without} pictures has masks{found}; expected {EXPECTED}; {annotated}"
            "`pdlm caption --propose MODEL` makes them"
        )
    if without:
        log.warning("%d pictures of %s have no masks and are left out", without, store.location)
    if of_none:
        log.warning(
            "%d pictures in %s/ are the masks of none and are left out, the first %s", len(of_none), MASKS, of_none[0]
        )


def pictures(store: Store) -> list[str]:
    """All pictures by name, with masks or without; not the masks."""
    return _Layout(store.names()).pictures


class _Layout:
    """Which files are pictures, and which are their masks. Keys are folder, with its slash, and stem."""

    def __init__(self, names: Iterator[str]) -> None:
        self.json: set[str] = set()
        self.alone: dict[tuple[str, str], str] = {}  # in a folder of masks
        self.numbered: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.together: dict[str, list[str]] = {}  # in a folder of masks, by the folder
        beside: dict[tuple[str, str], list[str]] = {}
        unread: dict[tuple[str, str], list[str]] = {}
        for name in names:
            folder = folder_of(name)
            match = PICTURE.fullmatch(name, len(folder))
            if match is None:
                self.json |= {name} if name.endswith(".json") else set()
            elif f"/{MASKS}/" in f"/{folder}":
                self.alone[folder, match["stem"]] = name
                self.together.setdefault(folder, []).append(name)
                if number := NUMBERED.fullmatch(match["stem"]):
                    self.numbered.setdefault((folder, number["stem"]), []).append((int(number["number"]), name))
            else:
                (unread if match["unread"] else beside).setdefault((folder, match["stem"]), []).append(name)
        beside = unread | beside  # phones put a JPEG of the same name beside
        self.pictures = sorted(
            name for key, names in beside.items() for name in names if not self._is_mask(key, name, beside)
        )

    def _is_mask(self, key: tuple[str, str], name: str, beside: dict[tuple[str, str], list[str]]) -> bool:
        """Whether a picture is a mask of the one beside it; if so, it is put down as that."""
        folder, stem = key
        number = NUMBERED.fullmatch(stem)
        if number is None or (folder, number["stem"]) not in beside:
            return False
        if not number["mask"] and not name.lower().endswith(".png"):
            return False
        self.numbered.setdefault((folder, number["stem"]), []).append((int(number["number"]), name))
        return True


def _regions(picture: str, layout: _Layout, files: Files) -> list[RegionRecord] | None:
    """The regions of a picture by the first layout it has, None if it has none."""
    folder = folder_of(picture)
    match = PICTURE.fullmatch(picture, len(folder))
    assert match is not None
    stem = match["stem"]
    homes = dict.fromkeys([f"{folder}{MASKS}/", f"{MASKS}/{folder}"])
    for home in homes:
        if together := layout.together.get(f"{home}{stem}/"):
            return _mask_pictures(picture, sorted((*_natural(name), name) for name in together), files)
    for home in [folder, *homes]:
        if numbered := layout.numbered.get((home, stem)):
            return _mask_pictures(picture, sorted((number, str(number), name) for number, name in numbered), files)
    for home in homes:
        if (home, stem) in layout.alone:
            return _instances(picture, layout.alone[home, stem], files)
    name = f"{folder}{stem}.json"
    return _listed(picture, name, files) if name in layout.json else None


def _mask_pictures(picture: str, masks: Sequence[tuple[int, str, str]], files: Files) -> list[RegionRecord]:
    """masks: of each its number, id and file."""
    return [_told(picture, region_id, name, files.mask) for _, region_id, name in masks]


def _told(image_id: str, region_id: str, name: str, mask: Callable[[str], Any]) -> RegionRecord:
    try:
        return RegionRecord(image_id, region_id, mask(name))
    except ValueError as error:
        return RegionRecord(image_id, region_id, {"unreadable": f"{name}: {error}"})


def _instances(picture: str, name: str, files: Files) -> list[RegionRecord]:
    try:
        mask = files.mask(name)
        values = np.unique(read_values(BytesIO(files.bytes(name)), name, MAX_PIXELS))
    except ValueError as error:
        return [unreadable(picture, name, error)]
    return [RegionRecord(picture, str(value), mask | {"id": int(value)}) for value in values if value]


def _listed(picture: str, name: str, files: Files) -> list[RegionRecord]:
    """What the JSON beside a picture says; names of mask pictures in it are relative to its folder."""
    try:
        value = files.json(name)
        if isinstance(value, list):
            masks = [object_at(region, f"[{i}]").get("segmentation") for i, region in enumerate(value)]
            found = plain.masks_of(masks, picture, "the file")
        elif sa1b.recognises(shape_of(items_of(value))):
            found = sa1b.read(items_of(value))
        else:
            found = plain.masks_of(value.get("masks"), picture, "'masks'")
        regions = [record for record in found if isinstance(record, RegionRecord)]
    except ValueError as error:
        return [unreadable(picture, name, error)]
    masks = [_below(folder_of(name), region.mask) for region in regions]
    files.used |= {mask["file"] for mask in masks if isinstance(mask, dict) and isinstance(mask.get("file"), str)}
    return [RegionRecord(picture, region.region_id, mask) for region, mask in zip(regions, masks, strict=True)]


def _below(folder: str, mask: Any) -> Any:
    if isinstance(mask, dict) and isinstance(mask.get("file"), str):
        return mask | {"file": folder + mask["file"]}
    return mask


def _natural(name: str) -> tuple[int, str]:
    """Number and id of a mask picture that is named by its number; others come first, by name."""
    stem = name[len(folder_of(name)) : name.rindex(".")]
    return (int(stem) if NUMBER.fullmatch(stem) else -1), stem
