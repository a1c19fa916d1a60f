"""An image folder: copies of the pictures, and a mask picture a region.

photos/a.jpg              the picture, under its own name where that can be
masks/photos/a/7.png      its region 7, white inside
"""

from pathlib import Path

from PIL import Image

from pdlm_cli.atomic import open_folder
from pdlm_cli.conversions.file_names import FileNames, folder_of, part_of, picture_name, stem_of
from pdlm_cli.conversions.folders import sign
from pdlm_cli.conversions.source import ConversionSource, ReadRegion
from pdlm_cli.errors import RegionError
from pdlm_cli.images import picture_ending
from pdlm_cli.readers.folder import MASKS, NUMBERED
from pdlm_cli.regions import ImageEntry

HOLDS = ("picture",)


def write(source: ConversionSource, out: Path) -> None:
    """Pictures that cannot be read, or have no region left, are left out with their regions. Raises OutputError."""
    names = _PictureNames()
    with open_folder(out) as folder, source.images() as entries:
        sign(folder)
        for entry in entries:
            _write_image(entry, source, folder, names)


def _write_image(entry: ImageEntry, source: ConversionSource, folder: Path, names: "_PictureNames") -> None:
    try:
        with source.sources.open(entry) as file:
            picture = file.read()
        ending = picture_ending(entry.file_name, picture)
    except RegionError as error:
        for region in entry.regions:
            source.converted.failed(entry, region, error)
        return
    name = ""
    region_names = FileNames()
    for found in source.regions(entry):
        if found.mask is None:
            continue
        if not name:
            name = names.give(picture_name(entry), ending)
            source.renamed("image ids", entry.image_id, name + ending)
            (folder / MASKS / name).mkdir(parents=True)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}{ending}").write_bytes(picture)
        _write_mask(found, folder / MASKS / name, region_names, source)


def _write_mask(found: ReadRegion, folder: Path, names: FileNames, source: ConversionSource) -> None:
    assert found.mask is not None
    name = names.give(part_of(found.region.region_id))
    source.renamed("region ids", found.region.region_id, name)
    Image.fromarray(found.mask.pixels()).save(folder / f"{name}.png", "PNG")


class _PictureNames:
    """Names without endings, none of which the reader would take for a mask of another picture."""

    def __init__(self) -> None:
        self._names = FileNames()
        self._numbered: set[str] = set()  # names less the number of a mask, of what would be masks beside those

    def give(self, wanted: str, ending: str) -> str:
        """Folders and stem for a picture. wanted: its own name."""
        folder = folder_of(wanted)
        if f"/{MASKS}/" in f"/{folder}":
            folder = ""

        def is_free(name: str) -> bool:
            return name not in self._numbered and not self._names.has(self._of_mask(name, ending))

        name = self._names.give(f"{folder}{stem_of(wanted)}", is_free)
        self._numbered.add(self._of_mask(name, ending))
        return name

    @staticmethod
    def _of_mask(name: str, ending: str) -> str:
        """Which picture's mask a picture of that name would be, if that were there; "" for none."""
        folder = name[: name.rfind("/") + 1]
        found = NUMBERED.fullmatch(name, len(folder))
        return f"{folder}{found['stem']}" if found and (found["mask"] or ending == ".png") else ""
