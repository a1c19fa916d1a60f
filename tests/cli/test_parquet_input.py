"""Parquet as an input: manifests, and pictures in their cells."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.parquet_pictures import ParquetPictures
from pdlm_cli.regions import ParquetCell
from pdlm_cli.sources import open_with_sources
from tests.cli.sample_pictures import FOLDER, SAMPLE
from tests.cli.test_inputs import read, same


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


def test_a_file_is_named_once_and_one_of_a_folder_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError) as caught:
        open_with_sources(str(tmp_path / "a.parquet"))
    assert str(caught.value).count("a.parquet") == 1
    with pytest.raises(InputError, match=f"^{tmp_path}: a.parquet: "):
        open_with_sources(str(tmp_path))


@pytest.mark.parametrize("listed", ["regions", "mask_rles"])
def test_no_list_is_an_image_without_regions(tmp_path: Path, listed: str) -> None:
    region = {"region_id": "1", "rle_counts": "01", "rle_size": [1, 1], "size": [1, 1], "counts": "01"}
    rows = [{"image_path": f"{i}.png", "image_id": str(i), listed: [region][:i] or None} for i in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    manifest, _ = open_with_sources(str(tmp_path / "a.parquet"))
    assert (manifest.images, manifest.images_without_regions) == (1, 1)
