import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdlm_cli import images
from pdlm_cli.errors import RegionError
from pdlm_cli.images import Exif, find_image, image_size, load_image, read_data_address


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


@pytest.mark.parametrize("head", ["data:image/png;base64", "data:;base64", "data:base64"])
def test_addresses_that_hold_their_picture(head: str) -> None:
    assert read_data_address(f"{head},AAEC") == b"\0\1\2"


@pytest.mark.parametrize("address", ["data:image/png,AAEC", "data:xbase64,AAEC", "data:base64,A", "data:base64"])
def test_addresses_that_hold_something_else_are_bad(address: str) -> None:
    with pytest.raises(RegionError) as caught:
        read_data_address(address + " ")
    assert code_of(caught) == "bad_image"


@pytest.mark.parametrize("name", ["none.jpg", "", ".", "photo.jpg/x", "x" * 300 + ".jpg", "a\0b.jpg"])
@pytest.mark.fault("unicode: NFC or NFD, NUL, 300 characters")
def test_what_cannot_be_a_file_is_missing(photo: Path, name: str) -> None:
    with pytest.raises(RegionError) as caught:
        find_image(photo.parent, name, allow_outside=False)
    assert code_of(caught) == "missing_image"


@pytest.mark.parametrize("kind", ["absolute", "parent", "link"])
@pytest.mark.fault("path traversal, absolute path, symlink out of the root")
def test_names_that_leave_the_root_are_refused_unless_allowed(photo: Path, kind: str) -> None:
    root = photo.parent.parent / "other"
    root.mkdir()
    (root / "link.jpg").symlink_to(photo)
    name = {"absolute": str(photo), "parent": "../root/photo.jpg", "link": "link.jpg"}[kind]
    with pytest.raises(RegionError, match="--allow-outside") as caught:
        find_image(root, name, allow_outside=False)
    assert code_of(caught) == "outside_root"
    assert find_image(root, name, allow_outside=True) == photo


@pytest.mark.fault("path traversal, absolute path, symlink out of the root")
def test_what_lies_outside_is_not_told(photo: Path) -> None:
    with pytest.raises(RegionError) as caught:
        find_image(photo.parent, "../none.jpg", allow_outside=False)
    assert code_of(caught) == "outside_root"


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
@pytest.mark.fault("truncated or corrupt image")
def test_cut_pictures_are_bad(photo: Path, share: float) -> None:
    data = photo.read_bytes()
    photo.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RegionError, match=r"photo\.jpg") as caught:
        load_image(photo)
    assert code_of(caught) == "bad_image"


@pytest.mark.fault("truncated or corrupt image")
def test_an_empty_file_is_called_so(photo: Path) -> None:
    photo.write_bytes(b"")
    with pytest.raises(RegionError, match=r"photo\.jpg' cannot be decoded: the file is empty"):
        load_image(photo)


def test_formats_beyond_the_list_are_bad(photo: Path) -> None:
    Image.open(photo).save(photo.with_suffix(".ppm"))
    with pytest.raises(RegionError) as caught:
        load_image(photo.with_suffix(".ppm"))
    assert code_of(caught) == "bad_image"


@pytest.mark.fault("decompression bomb")
def test_a_picture_of_forged_size_is_bad(tmp_path: Path) -> None:

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(RegionError, match="decompression bomb") as caught:
        load_image(path)
    assert code_of(caught) == "bad_image"


@pytest.mark.fault("decompression bomb")
def test_the_limit_of_pixels_is_ours_to_set(photo: Path) -> None:
    assert load_image(photo, max_pixels=4800).size == (80, 60)
    with pytest.raises(RegionError, match=r"80 x 60 pixels.*--max-pixels 4799") as caught:
        load_image(photo, max_pixels=4799)
    assert code_of(caught) == "bad_image"


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.fault("unicode: NFC or NFD, NUL, 300 characters")
def test_letters_with_accents_are_found_however_they_are_spelt(photo: Path, stored: str, asked: str) -> None:
    path = photo.rename(photo.parent / unicodedata.normalize(stored, "b\u00fcro.jpg"))
    assert find_image(path.parent, unicodedata.normalize(asked, "b\u00fcro.jpg"), allow_outside=False) == path


# What the stored rows "ab" and "cd" look like when they are turned as EXIF says.
UPRIGHT = {1: "ab/cd", 2: "ba/dc", 3: "dc/ba", 4: "cd/ab", 5: "ac/bd", 6: "ca/db", 7: "db/ca", 8: "bd/ac"}
GRAY = {"a": 10, "b": 90, "c": 170, "d": 250}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.fault("EXIF rotation")
def test_pictures_are_turned_as_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.kron([[GRAY["a"], GRAY["b"]], [GRAY["c"], GRAY["d"]]], np.ones((2, 3))).astype(np.uint8)  # 6 x 4
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(stored).save(path, exif=exif)

    def seen(exif: Exif, drawn_on: tuple[int, int] | None = None) -> str:
        picture = load_image(path, exif=exif, drawn_on=drawn_on)
        assert image_size(path, name=None, exif=exif, drawn_on=drawn_on, max_pixels=100) == picture.size
        pixels = np.asarray(picture)[:, :, 0]
        letters = {value: letter for letter, value in GRAY.items()}
        corners = [[letters[int(pixels[y, x])] for x in (0, -1)] for y in (0, -1)]
        return "/".join("".join(row) for row in corners)

    assert seen("apply") == UPRIGHT[orientation]
    if suffix == "tif":  # its orientation is part of its layout
        assert seen("ignore") == UPRIGHT[orientation]
        return
    assert seen("ignore") == UPRIGHT[1]
    assert seen("auto") == UPRIGHT[1]
    assert seen("auto", (6, 4)) == UPRIGHT[1]
    assert seen("auto", (4, 6)) == UPRIGHT[orientation if orientation > 4 else 1]


@pytest.mark.fault("16-bit, CMYK, palette, alpha, animated")
def test_transparency_leaves_the_colors_as_they_are_stored(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 100, 50, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (2, 2))
    palette.putpalette([200, 100, 50, 0, 0, 0])
    palette.save(tmp_path / "b.png", transparency=bytes([7, 255]))
    for name in ("a.png", "b.png"):
        assert load_image(tmp_path / name).getpixel((0, 0)) == (200, 100, 50)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
@pytest.mark.fault("16-bit, CMYK, palette, alpha, animated")
def test_of_moving_pictures_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = tmp_path / f"moving.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert load_image(path).getpixel((4, 4)) == (255, 0, 0)


def test_numbers_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.new("F", (2, 2), 0.5).save(tmp_path / "a.tif")
    with pytest.raises(RegionError, match="floating-point"):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("beyond", [255, 65535, 2**31 - 1])
def test_integers_of_32_bits_are_refused(tmp_path: Path, beyond: int) -> None:
    """Nothing says whether 255 is white in them, or nearly black."""
    Image.fromarray(np.array([[0, beyond]], np.int32)).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as picture:
        assert picture.mode == "I"
    with pytest.raises(RegionError, match="32-bit") as caught:
        load_image(tmp_path / "a.tif")
    assert code_of(caught) == "bad_image"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
@pytest.mark.fault("16-bit, CMYK, palette, alpha, animated")
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    picture = load_image(path)
    assert (picture.mode, picture.size) == ("RGB", (5, 4))
    assert picture.getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.fault("16-bit, CMYK, palette, alpha, animated")
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.asarray(load_image(tmp_path / name))[0, :, 0].tolist() == [0, 1, 128, 255]
    with Image.open(tmp_path / "deep.png") as picture:
        older = picture.convert("I")  # the mode in which older versions of Pillow open it
    assert np.asarray(images._to_rgb(older))[0, :, 0].tolist() == [0, 1, 128, 255]
