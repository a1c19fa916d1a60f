"""Pictures from folders, archives, addresses, Parquet cells and the input itself; masks from mask pictures."""

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from pdlm_cli import archives, remote
from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.parquet_pictures import ParquetPictures
from pdlm_cli.regions import ParquetCell
from pdlm_cli.sources import MaskReader, open_with_sources
from pdlm_cli.stores import Store, open_store
from tests.cli.support import Dataset, box_mask, rle
from tests.cli.test_inputs import read, same
from tests.cli.written_inputs import FOLDER, SAMPLE

PNG = SAMPLE[0].png()


def code_of(store: Store, name: str) -> str:
    with pytest.raises(RegionError) as caught:
        store.open(name)
    return caught.value.code


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_pictures_are_read_inside_archives(tmp_path: Path, pack: Any) -> None:
    names = {"a.png": PNG, "./deep/b.png": PNG, "b\u00fcro.png": PNG, "../out.png": PNG, "/abs.png": PNG}
    store = open_store(str(pack(tmp_path / "pictures.archive", names)))
    assert store.open("a.png").read() == PNG
    assert store.open("deep/../a.png").read() == PNG
    assert store.open("bu\u0308ro.png").read() == PNG
    if pack is tarred:
        assert store.open("deep/b.png").read() == PNG
    for name, code in {
        "none.png": "missing_image",
        "": "missing_image",
        "deep/": "missing_image",
        "a\0.png": "missing_image",
        "../out.png": "outside_root",
        "/abs.png": "outside_root",
        "s3://bucket/a.png": "outside_root",
    }.items():
        assert code_of(store, name) == code, name
    assert not {"../out.png", "/abs.png"} & set(store.names())
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.fault("path traversal, absolute path, symlink out of the root")
def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(f"link{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    for archive_name, name in (("a.tar", "link2.png"), ("a.tar", "link1.png"), ("a.zip", "link.png")):
        assert code_of(open_store(str(tmp_path / archive_name)), name) == "outside_root"


def test_broken_and_too_large_members_are_bad_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG})
    data = bytearray(path.read_bytes())
    data[data.index(b"a.png") + 10] ^= 0xFF
    (tmp_path / "broken.zip").write_bytes(data)
    assert code_of(open_store(str(tmp_path / "broken.zip")), "a.png") == "bad_image"
    monkeypatch.setattr(archives, "MAX_MEMBER", 10)
    assert code_of(open_store(str(path)), "a.png") == "bad_image"
    assert code_of(open_store(str(tarred(tmp_path / "a.tar", {"a.png": PNG}))), "a.png") == "bad_image"


def test_a_zip_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """Found by fuzzing."""
    data = zipped(tmp_path / "a.zip", {"a.png": PNG}).read_bytes()
    version = data.index(b"PK\x01\x02") + 6
    (tmp_path / "a.zip").write_bytes(data[:version] + b"\xff" + data[version + 1 :])
    with pytest.raises(InputError, match="zip file version"):
        open_store(str(tmp_path / "a.zip"))


def test_names_of_members_that_are_no_text(tmp_path: Path) -> None:
    """Found by fuzzing."""
    data = bytearray(zipped(tmp_path / "a.zip", {"\u00e9.png": PNG, "b.png": PNG}).read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[30] = 0xFF  # the first byte of the name before the picture, and
    (tmp_path / "a.zip").write_bytes(data)
    assert code_of(open_store(str(tmp_path / "a.zip")), "\u00e9.png") == "bad_image"
    data[directory + 46] = 0xFF  # in the list of names
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match="no folder, zip or plain tar"):
        open_store(str(tmp_path / "a.zip"))


def test_a_member_without_a_name_is_nobodys_picture(tmp_path: Path) -> None:
    """Found by fuzzing."""
    data = zipped(tmp_path / "a.zip", {"a.png": PNG, "b.png": PNG}).read_bytes()
    directory = data.index(b"PK\x01\x02")
    (tmp_path / "a.zip").write_bytes(data[:directory] + data[directory:].replace(b"a.png", b"\0.png"))
    assert list(open_store(str(tmp_path / "a.zip")).names()) == ["b.png"]


def test_what_cannot_be_read_in_any_order_is_refused(tmp_path: Path) -> None:
    tarred(tmp_path / "a.tar.gz", {"a.png": PNG}, "w:gz")
    (tmp_path / "text.txt").write_text("pictures")
    for name in ("a.tar.gz", "text.txt"):
        with pytest.raises(InputError, match=r"no folder, zip or plain tar.*unpack"):
            open_store(str(tmp_path / name))
    with pytest.raises(InputError, match="--masks names"):
        open_store(str(tmp_path / "none"), option="--masks")


def test_an_archive_is_an_input_like_a_folder(tmp_path: Path) -> None:
    for name, format in (("folder_of_masks", "image-folder"), ("sa1b", "sa-1b")):
        files = {
            str(path.relative_to(FOLDER / name)): path.read_bytes()
            for path in sorted((FOLDER / name).rglob("*"))
            if path.is_file()
        }
        for packed in (zipped(tmp_path / f"{name}.zip", files), tarred(tmp_path / f"{name}.tar", files)):
            found, sources = open_with_sources(str(packed))
            assert found.format == format
            same(read(found, sources), SAMPLE)


def written(folder: Path, value: Any) -> str:
    (folder / "list.json").write_text(json.dumps(value))
    return str(folder / "list.json")


def masks_of(location: str, **options: Any) -> list[np.ndarray | str]:
    """Pixels of every mask, or the code of its error."""
    found, sources = open_with_sources(location, **options)
    result: list[np.ndarray | str] = []
    for entry in found:
        size = sources.picture(entry).size
        masks = MaskReader(sources, entry)
        for region in entry.regions:
            try:
                result.append(masks.pixels(region, size))
            except RegionError as error:
                result.append(error.code)
    return result


def test_every_form_of_a_plain_list(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    box = box_mask(8, 6, 2, 1, 3, 2)
    Image.fromarray(box).save(tmp_path / "m.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (9, 9), 1).save(tmp_path / "large.png")
    corners = [2, 1, 5, 1, 5, 3, 2, 3]
    good = [rle(box), corners, [corners], "m.png", [2, 1, 3, 2], {"file": "m.png", "id": 1}]
    bad = {"none.png": "bad_mask", "text.png": "bad_mask", "../m.png": "outside_root", "large.png": "size_mismatch"}
    location = written(tmp_path, [{"image": "a.png", "masks": [*good, *bad, 7, {"file": "m.png", "id": "x"}]}])
    found = masks_of(location)
    assert all(np.array_equal(mask, box) for mask in found[: len(good)])
    assert found[len(good) :] == [*bad.values(), "bad_mask", "bad_mask"]


def test_null_in_the_training_json_is_the_whole_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    regions = [{"caption": "x", "segmentation": None}, {"caption": "y", "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}]
    whole, corner = masks_of(written(tmp_path, [{"image_file": "a.png", "annotations": regions}]))
    assert np.array_equal(whole, np.ones((6, 8), bool))
    assert np.array_equal(corner, box_mask(8, 6, 0, 0, 2, 2))


@pytest.mark.parametrize(
    "address",
    [
        "data:image/png,xyz",
        *(f"data:image/png;base64,{text}" for text in ("!!", "AAAA", "\u00e9")),
    ],  # the last by fuzzing
)
def test_broken_pictures_in_the_file_are_bad(tmp_path: Path, address: str) -> None:
    found, sources = open_with_sources(written(tmp_path, [{"image": address, "masks": [[0, 0, 1, 1]]}]))
    (entry,) = found
    assert entry.file_name.startswith("data:")
    assert len(entry.file_name) < 30
    with pytest.raises(RegionError) as caught:
        sources.picture(entry)
    assert caught.value.code == "bad_image"


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "LA"])
def test_masks_in_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    """A region is what is not zero: of gray, of the palette's index, of the color."""
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    box = box_mask(6, 4, 1, 1, 3, 2)
    if mode == "P":
        picture = Image.fromarray(box.astype(np.uint8), "L")
        picture.putpalette([255, 255, 255, 0, 0, 0])
    elif mode == "I;16":
        picture = Image.fromarray(box.astype(np.uint16) * 256)
    else:
        picture = Image.fromarray(box.astype(np.uint8) * 255).convert(mode)
    picture.save(tmp_path / "m.png")
    (mask,) = masks_of(written(tmp_path, [{"image": "a.png", "masks": ["m.png"]}]))
    assert np.array_equal(mask, box)


def test_jpeg_masks_are_what_is_bright(tmp_path: Path) -> None:
    values = np.zeros((16, 16), np.uint8)
    values[:, 8:] = 128
    values[:, :8] = 120
    Image.fromarray(values).save(tmp_path / "photo_mask_3.jpg", quality=100)
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.jpg")
    (mask,) = masks_of(str(tmp_path))
    assert np.array_equal(mask, values == 128)


def test_subfolders_find_their_masks_and_lone_pictures_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/x.jpg", "b/x.jpg", "c/lonely.jpg", "c/lonely_1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("a/masks/x/10.png", "a/masks/x/9.png", "masks/b/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 5).save(tmp_path / name)
    found, _ = open_with_sources(str(tmp_path))
    assert [(entry.image_id, [region.region_id for region in entry.regions]) for entry in found] == [
        ("a/x.jpg", ["9", "10"]),
        ("b/x.jpg", ["5"]),
    ]
    assert "2 pictures" in caplog.text


def test_files_of_a_folder_that_cannot_be_read_are_regions_that_cannot(tmp_path: Path) -> None:
    for stem in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{stem}.jpg")
    (tmp_path / "a.json").write_text('{"masks": [[0, 0, 2, 2]]}')
    (tmp_path / "b.json").write_text('{"masks": [')
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/c.png").write_text("no picture")
    good, *bad = masks_of(str(tmp_path), format="image-folder")
    assert np.array_equal(good, box_mask(4, 4, 0, 0, 2, 2))
    assert bad == ["bad_mask", "bad_mask"]
    (tmp_path / "sa").mkdir()
    (tmp_path / "sa/good.json").write_text((FOLDER / "sa1b/a.json").read_text())
    (tmp_path / "sa/torn.json").write_text((FOLDER / "sa1b/b.json").read_text()[:-50])
    found, _ = open_with_sources(str(tmp_path / "sa"), format="sa-1b")
    assert [(entry.file_name, len(entry.regions)) for entry in found] == [("a.png", 3), ("torn.jpg", 1)]


def test_a_folder_is_another_input_when_a_mask_in_it_changes(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    hashes, masks = set(), set()
    for value in (1, 2):
        Image.new("L", (4, 4), value).save(tmp_path / "a_0.png")
        found, _ = open_with_sources(str(tmp_path))
        hashes.add(found.sha256)
        masks.add(json.dumps([region.segmentation for entry in found for region in entry.regions]))
    assert len(hashes) == len(masks) == 2


@pytest.mark.fault("EXIF rotation")
def test_exif_follows_the_size_the_masks_belong_to(dataset: Dataset) -> None:
    """One photo, of which one tool saw 6 x 4 pixels and another, which turned it, 4 x 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(dataset.folder / "1.png", exif=exif)
    for size in ((6, 4), (4, 6)):
        dataset.coco["images"].append({"id": len(dataset.coco["images"]) + 1, "file_name": "1.png"})
        dataset.region(len(dataset.coco["images"]), rle(box_mask(*size, 0, 0, 1, 1)))
    location = str(dataset.write())

    def sizes(**options: Any) -> list[tuple[int, int]]:
        found, sources = open_with_sources(location, **options)
        assert [sources.picture_size(entry) for entry in found] == [sources.picture(entry).size for entry in found]
        return [sources.picture(entry).size for entry in found]

    assert sizes() == [(6, 4), (4, 6)]
    assert sizes(exif="apply") == [(4, 6), (4, 6)]
    assert sizes(exif="ignore") == [(6, 4), (6, 4)]


def test_images_of_too_many_regions_come_refused_and_in_pieces(dataset: Dataset) -> None:
    for _ in range(2):
        dataset.image()
    for n in range(9):
        dataset.region(1 if n < 7 else 2)
    found, _ = open_with_sources(str(dataset.write()), max_regions=3)
    entries = list(found)
    assert [(entry.image_id, len(entry.regions)) for entry in entries] == [("1", 3), ("1", 3), ("1", 1), ("2", 2)]
    assert [entry.refused is None for entry in entries] == [False, False, False, True]
    assert entries[0].refused == ("too_many_regions", "the image has 7 regions, more than --max-regions 3")


class Files:
    """Parquet files of pictures; counts how often one is opened."""

    def __init__(self, path: Path, rows: int, group: int) -> None:
        self.path, self.opened = path, 0
        image = [{"bytes": b"%d" % i if i % 5 else None, "path": str(i)} for i in range(rows)]
        pq.write_table(pa.table({"image": image}), path, row_group_size=group)

    def __call__(self, number: int) -> io.BufferedReader:
        assert number == 0
        self.opened += 1
        return open(self.path, "rb")


def test_pictures_in_parquet_are_read_forwards_once(tmp_path: Path) -> None:
    files = Files(tmp_path / "a.parquet", rows=300, group=150)
    pictures = ParquetPictures(files)
    order = np.arange(300).reshape(-1, 10)[:, ::-1].ravel().tolist()  # as threads ask: a little out of order
    for row in order:
        expected = b"%d" % row if row % 5 else None
        assert pictures.read(ParquetCell(0, row // 150, row % 150)) == expected
    assert files.opened == 2
    assert pictures.read(ParquetCell(0, 0, 1)) == b"1"
    assert files.opened == 3


def test_damage_in_a_column_of_pictures_concerns_these_pictures_alone(tmp_path: Path) -> None:
    """Found by fuzzing: the table can be read, a page of the pictures cannot."""
    whole = FOLDER / "parquet_images/manifest.parquet"
    group = pq.read_metadata(whole).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    pictures, written = columns["image.bytes"], whole.read_bytes()
    start, length = pictures.dictionary_page_offset or pictures.data_page_offset, 16
    (tmp_path / "a.parquet").write_bytes(written[:start] + bytes(length) + written[start + length :])
    manifest, sources = open_with_sources(str(tmp_path / "a.parquet"))
    broken, sound = manifest  # a row group each
    for _ in range(2):
        with pytest.raises(RegionError, match="cannot be read") as refused:
            sources.picture(broken)
        assert refused.value.code == "bad_image"
        assert np.array_equal(np.asarray(sources.picture(sound)), np.asarray(SAMPLE[1].image()))


def test_damaged_statistics_are_not_asked(tmp_path: Path) -> None:
    """Found by fuzzing: one bit of the footer, and pyarrow ended the process where it was asked for these."""
    written = bytearray((FOLDER / "parquet_regions/manifest.parquet").read_bytes())
    written[1384] ^= 2
    (tmp_path / "a.parquet").write_bytes(written)
    with pytest.raises(InputError, match="histogram size mismatch"):
        open_with_sources(str(tmp_path / "a.parquet"))


def test_rows_of_parquet_without_bytes_fall_back_to_their_path(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(SAMPLE[1].png())
    table = pq.read_table(FOLDER / "parquet_images/manifest.parquet").to_pylist()
    table[1]["image"]["bytes"] = None
    schema = pq.read_schema(FOLDER / "parquet_images/manifest.parquet")
    pq.write_table(pa.Table.from_pylist(table, schema=schema), tmp_path / "m.parquet")
    same(read(*open_with_sources(str(tmp_path / "m.parquet"))), SAMPLE)


def test_a_folder_of_parquet_files_is_one_input(tmp_path: Path) -> None:
    table = pq.read_table(FOLDER / "parquet_images/manifest.parquet")
    for i in range(2):
        pq.write_table(table.slice(i, 1), tmp_path / f"part-{i}.parquet")
    same(read(*open_with_sources(str(tmp_path))), SAMPLE)


BAD_PARQUET = {
    "no picture": ({"image_id": ["a"], "region_id": ["b"], "rle_counts": ["c"], "rle_size": [[1, 1]]}, "image"),
    "no masks": ({"image_path": ["a"], "image_id": ["a"], "region_id": ["b"]}, "rle_counts, rle_size"),
    "no id": (
        {"image_path": ["a"], "image_id": [None], "region_id": ["b"], "rle_counts": ["c"], "rle_size": [[1, 1]]},
        "row 0 of row group 0 needs 'image_id'",
    ),
    "run lengths as bytes": (  # found by fuzzing
        {"image_path": ["a"], "image_id": ["a"], "region_id": ["b"], "rle_counts": [b"c"], "rle_size": [[1, 1]]},
        "rle_counts is binary; expected text",
    ),
    "run lengths as bytes, in a list": (
        {"image_path": ["a"], "image_id": ["a"], "mask_rles": [[{"counts": b"c", "size": [1, 1]}]]},
        "mask_rles is list.*; expected text",
    ),
    "two files of an image": (
        {"image_path": ["a", "b"], "image_id": ["a"] * 2, "region_id": ["b", "c"], "rle_counts": ["c"] * 2}
        | {"rle_size": [[1, 1]] * 2},
        "|image ids with more than one file: a",
    ),
    "a region twice": (
        {"image_path": ["a"] * 2, "image_id": ["a"] * 2, "region_id": ["b", "b"], "rle_counts": ["c"] * 2}
        | {"rle_size": [[1, 1]] * 2},
        "region ids used more than once in an image: b of image a",
    ),
}


@pytest.mark.parametrize(("columns", "message"), BAD_PARQUET.values(), ids=BAD_PARQUET.keys())
def test_what_is_wrong_with_a_manifest_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message):
        open_with_sources(str(tmp_path / "a.parquet"))


def test_cut_parquet_is_refused(tmp_path: Path) -> None:
    data = (FOLDER / "parquet_regions/manifest.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.parquet"):
        open_with_sources(str(tmp_path / "a.parquet"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """The samples in a real S3 service on this machine; the environment that leads its clients there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="photos")
    for name in ("coco", "parquet_images", "folder_of_masks"):
        for path in (FOLDER / name).rglob("*"):
            if path.is_file():
                client.put_object(Bucket="photos", Key=str(path.relative_to(FOLDER)), Body=path.read_bytes())
    client.put_object(Bucket="photos", Key="secret.png", Body=PNG)
    client.put_object(Bucket="photos", Key="coco/b\u00fcro.png", Body=PNG)
    client.put_object(Bucket="photos", Key="coco/empty.png", Body=b"")
    yield environment
    server.stop()


READ_REMOTE = """
import sys
from pdlm_cli.sources import open_with_sources
from pdlm_cli.stores import open_store
from pdlm_cli.errors import RegionError
from tests.cli.test_inputs import read, same
from tests.cli.written_inputs import SAMPLE
for location in ("s3://photos/coco/masks.json", "s3://photos/parquet_images/manifest.parquet",
                 "s3://photos/folder_of_masks"):
    same(read(*open_with_sources(location)), SAMPLE)
same(read(*open_with_sources("tests/data/inputs/coco/masks.json", images="s3://photos/coco/")), SAMPLE)
def code(store, name):
    try:
        store.open(name).read()
    except RegionError as error:
        return error.code
store = open_store("s3://photos/coco")
names = ["none.png", "../secret.png", "s3://photos/secret.png", "empty.png", "s3://photos/coco/a.png",
         "bu\\u0308ro.png"]
found = [code(store, name) for name in names]
assert found[:3] == ["missing_image", "outside_root", "outside_root"], found
assert found[4:] == [None, None], found
assert code(open_store("s3://photos/coco", allow_outside=True), "s3://photos/secret.png") is None
assert code(open_store("tests", allow_outside=True), "s3://photos/secret.png") is None
assert code(open_store("tests"), "s3://photos/secret.png") == "outside_root"
assert code(open_store("tests", allow_outside=True), "http://photos/secret.png") == "missing_image"
try:
    open_with_sources("s3://photos/none.json")
except ValueError as error:
    assert "cannot read s3://photos/none.json" in str(error), error
else:
    sys.exit("no error")
"""


def test_pictures_and_inputs_at_addresses_of_s3(bucket: dict[str, str]) -> None:
    """In a process of its own: the client keeps threads and connections to the end."""
    root = FOLDER.parents[2]
    environment = os.environ | bucket | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", READ_REMOTE], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("address", "package", "wanted"),
    [("gs://bucket/a.json", "gcsfs", "gcsfs"), ("s3://bucket/a.json", "s3fs", r"'pdlm\[remote\]'")],
)
def test_a_client_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, package: str, wanted: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"needs the package {package}.*: pip install {wanted}"):
        remote.filesystem(address)


def test_other_addresses_are_refused() -> None:
    for address in ("http://images.example/a.json", "file:///etc/passwd"):
        with pytest.raises(InputError, match="expected an address that starts with s3://, gs://, hf://"):
            open_with_sources(address)


def test_base64_pictures_and_embedded_bytes_are_told_by_the_manifest() -> None:
    assert open_with_sources(str(FOLDER / "training_embedded/training.json"))[0].holds_pictures
    assert open_with_sources(str(FOLDER / "parquet_images/manifest.parquet"))[0].holds_pictures
    assert not open_with_sources(str(FOLDER / "coco/masks.json"))[0].holds_pictures
