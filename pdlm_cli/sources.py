"""The pictures and masks of a manifest, wherever they lie, as pixels."""

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pdlm_cli.errors import RegionError
from pdlm_cli.images import Exif, image_size, load_image, read_data_address
from pdlm_cli.inputs import MAX_PIXELS, MAX_REGIONS
from pdlm_cli.manifest import Manifest, open_input, open_manifest, parquet_files
from pdlm_cli.mask_files import inside, read_values
from pdlm_cli.masks import decode_on, stated_size
from pdlm_cli.parquet_pictures import ParquetPictures
from pdlm_cli.readers import lvis, parquet
from pdlm_cli.regions import Embedded, ImageEntry, ParquetCell, Region, mask_file, mask_sha256
from pdlm_cli.stores import Store, WithoutFolders, open_store

Size = tuple[int, int]  # width, height in pixels
CHUNK = 1 << 20  # bytes of a file that are hashed at a time


@dataclass(frozen=True)
class Sources:
    """Where to look, and how. Threads may use it at once.

    images, masks: stores of pictures and of mask pictures. exif, max_pixels: see load_image.
    """

    images: Store
    masks: Store
    parquet: ParquetPictures | None = None
    exif: Exif = "auto"
    max_pixels: int = MAX_PIXELS

    def picture(self, entry: ImageEntry) -> Image.Image:
        """RGB. Raises RegionError missing_image, outside_root, bad_image."""
        return self.picture_with_sha256(entry)[0]

    def picture_with_sha256(self, entry: ImageEntry) -> tuple[Image.Image, str]:
        """The picture, and the hash of its file in hex. Raises RegionError as `picture`."""
        with self.open(entry) as file:
            sha256 = _sha256(file, entry.file_name)
            picture = load_image(
                file, name=entry.file_name, exif=self.exif, drawn_on=self.drawn_on(entry), max_pixels=self.max_pixels
            )
            return picture, sha256

    def sha256(self, entry: ImageEntry) -> str:
        """Of the picture's file, in hex. Raises RegionError."""
        with self.open(entry) as file:
            return _sha256(file, entry.file_name)

    def picture_size(self, entry: ImageEntry) -> Size:
        """What the size of `picture` would be; only its header is read. Raises RegionError as that."""
        with self.open(entry) as file:
            return image_size(
                file, name=entry.file_name, exif=self.exif, drawn_on=self.drawn_on(entry), max_pixels=self.max_pixels
            )

    def open(self, entry: ImageEntry) -> BinaryIO:
        """The picture's file. Raises RegionError."""
        data = self._embedded(entry.embedded)
        return self.images.open(entry.file_name) if data is None else io.BytesIO(data)

    def drawn_on(self, entry: ImageEntry) -> Size | None:
        """The size that most masks of an image say they belong to, or else the one the image is said to have."""
        sizes: Counter[Size] = Counter()
        for region in entry.regions:
            try:
                size = stated_size(region.segmentation)
            except RegionError:
                continue
            if size is not None:
                sizes[size] += 1
        if sizes:
            return sizes.most_common(1)[0][0]
        if entry.width is not None and entry.height is not None:
            return entry.width, entry.height
        return self._mask_picture_size(entry)

    def _mask_picture_size(self, entry: ImageEntry) -> Size | None:
        for region in entry.regions:
            name = mask_file(region)
            if name is not None:
                try:
                    with self.masks.open(name) as file:
                        return image_size(file, name=name, exif="ignore", drawn_on=None, max_pixels=self.max_pixels)
                except RegionError:
                    continue
        return None

    def _embedded(self, embedded: Embedded | None) -> bytes | None:
        if isinstance(embedded, ParquetCell):
            assert self.parquet is not None
            return self.parquet.read(embedded)
        return None if embedded is None else read_data_address(embedded)


class MaskReader:
    """Masks of one image, one after the other; a mask picture that holds several is decoded once."""

    def __init__(self, sources: Sources, entry: ImageEntry) -> None:
        self._sources, self._entry = sources, entry
        self._read: tuple[str, NDArray[np.uint32]] | None = None
        self._hashed: tuple[str, str] | None = None

    def pixels(self, region: Region, size: Size) -> NDArray[np.bool_]:
        """(height, width) of a mask on the picture of `size`; may be empty. Raises RegionError."""
        drawn_on = (self._entry.width or size[0], self._entry.height or size[1])
        name = mask_file(region)
        if name is None:
            return decode_on(region.segmentation, size, drawn_on)
        pixels = inside(self._values(name), region.segmentation)
        if pixels.shape != size[::-1]:
            raise RegionError(
                "size_mismatch",
                f"the mask picture has {pixels.shape[1]}x{pixels.shape[0]} pixels, the picture {size[0]}x{size[1]}; "
                "use the picture that was annotated",
            )
        return pixels

    def sha256(self, region: Region) -> str:
        """See mask_sha256: by the content of its mask picture, unless that cannot be read. Nothing is decoded."""
        name = mask_file(region)
        if name is None or "sha256" in region.segmentation:
            return mask_sha256(region)
        if self._hashed is None or self._hashed[0] != name:
            try:
                with self._sources.masks.open(name) as file:
                    self._hashed = name, _sha256(file, name)
            except RegionError:
                return mask_sha256(region)
        return mask_sha256(region, self._hashed[1])

    def _values(self, name: str) -> NDArray[np.uint32]:
        if self._read is None or self._read[0] != name:
            try:
                with self._sources.masks.open(name) as file:
                    self._hashed = name, _sha256(file, name)
                    self._read = name, read_values(file, name, self._sources.max_pixels)
            except RegionError as error:
                raise RegionError(
                    "outside_root" if error.code == "outside_root" else "bad_mask", f"mask picture: {error}"
                ) from error
        return self._read[1]


def open_with_sources(
    input: str, *, format: str = "auto", max_regions: int = MAX_REGIONS, **where: Any
) -> tuple[Manifest, Sources]:
    """An input and where its pictures are. format, max_regions: see open_manifest. where: see open_sources."""
    manifest = open_manifest(input, format=format, max_regions=max_regions)
    return manifest, open_sources(manifest, **where)


def open_sources(
    manifest: Manifest,
    *,
    images: str | None = None,
    masks: str | None = None,
    exif: Exif = "auto",
    max_pixels: int = MAX_PIXELS,
    allow_outside: bool = False,
) -> Sources:
    """images, masks: folder, archive or address; None for where the manifest's format has them, masks beside the
    pictures that were named. Raises InputError."""
    pictures = open_store(images or manifest.images_in, allow_outside=allow_outside)
    if manifest.format == lvis.NAME:
        pictures = WithoutFolders(pictures)
    if masks is None and manifest.masks_in == manifest.images_in:
        mask_pictures = pictures
    else:
        mask_pictures = open_store(masks or manifest.masks_in, allow_outside=allow_outside, option="--masks")
    held = None
    if manifest.format == parquet.NAME:
        files = parquet_files(manifest.path)
        held = ParquetPictures(lambda number: open_input(files[number]))
    return Sources(pictures, mask_pictures, held, exif, max_pixels)


def _sha256(file: BinaryIO, name: str) -> str:
    """Of a file, which is at its beginning again then. Raises RegionError."""
    sha256 = hashlib.sha256()
    try:
        while data := file.read(CHUNK):
            sha256.update(data)
        file.seek(0)
    except OSError as error:
        raise RegionError("bad_image", f"{name!r} cannot be read: {error.strerror}") from error
    return sha256.hexdigest()
