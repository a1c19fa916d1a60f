import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdlm_cli.errors import RegionError
from pdlm_cli.images import find_image, load_image


def code_of(error: pytest.ExceptionInfo[RegionError]) -> str:
    return error.value.code


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "root" / "photo.jpg"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_a_picture_is_found_below_its_root(photo: Path) -> None:
    assert find_image(photo.parent, "photo.jpg", allow_outside=False) == photo
    assert find_image(photo.parent.parent, "root/../root/photo.jpg", allow_outside=False) == photo


@pytest.mark.parametrize("name", ["none.jpg", "", ".", "photo.jpg/x", "x" * 300 + ".jpg", "a\0b.jpg"])
def test_what_cannot_be_a_file_is_missing(photo: Path, name: str) -> None:
    with pytest.raises(RegionError) as caught:
        find_image(photo.parent, name, allow_outside=False)
    assert code_of(caught) == "missing_image"


@pytest.mark.parametrize("kind", ["absolute", "parent", "link"])
def test_names_that_leave_the_root_are_refused_unless_allowed(photo: Path, kind: str) -> None:
    root = photo.parent.parent / "other"
    root.mkdir()
    (root / "link.jpg").symlink_to(photo)
    name = {"absolute": str(photo), "parent": "../root/photo.jpg", "link": "link.jpg"}[kind]
    with pytest.raises(RegionError, match="--allow-outside") as caught:
        find_image(root, name, allow_outside=False)
    assert code_of(caught) == "outside_root"
    assert find_image(root, name, allow_outside=True) == photo


def test_what_lies_outside_is_not_told(photo: Path) -> None:
    with pytest.raises(RegionError) as caught:
        find_image(photo.parent, "../none.jpg", allow_outside=False)
    assert code_of(caught) == "outside_root"


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_cut_pictures_are_bad(photo: Path, share: float) -> None:
    data = photo.read_bytes()
    photo.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RegionError, match=r"photo\.jpg") as caught:
        load_image(photo)
    assert code_of(caught) == "bad_image"


def test_formats_beyond_the_list_are_bad(photo: Path) -> None:
    Image.open(photo).save(photo.with_suffix(".ppm"))
    with pytest.raises(RegionError) as caught:
        load_image(photo.with_suffix(".ppm"))
    assert code_of(caught) == "bad_image"


def test_a_picture_of_forged_size_is_bad(tmp_path: Path) -> None:

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(RegionError, match="decompression bomb") as caught:
        load_image(path)
    assert code_of(caught) == "bad_image"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    picture = load_image(path)
    assert (picture.mode, picture.size) == ("RGB", (5, 4))
    assert picture.getpixel((2, 2)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(load_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]
