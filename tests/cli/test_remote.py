"""Inputs and pictures at addresses: a real S3 service on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pdlm_cli import remote
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.sources import open_with_sources
from tests.cli.sample_pictures import FOLDER, SAMPLE
from tests.cli.support import REPOSITORY
from tests.cli.test_archives import tarred, zipped


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
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
    client.put_object(Bucket="photos", Key="secret.png", Body=SAMPLE[0].png())
    client.put_object(Bucket="photos", Key="coco/b\u00fcro.png", Body=SAMPLE[0].png())
    client.put_object(Bucket="photos", Key="coco/empty.png", Body=b"")
    for name, data in packed(tmp_path_factory.mktemp("packed")).items():
        client.put_object(Bucket="photos", Key=name, Body=data)
    yield environment
    server.stop()


def packed(scratch: Path) -> dict[str, bytes]:
    """Archives of the samples, sound and broken, by the name they have in the bucket."""
    pictures = {path.name: path.read_bytes() for path in sorted((FOLDER / "coco").glob("*.png"))}
    whole = {
        str(path.relative_to(FOLDER / "folder_of_masks")): path.read_bytes()
        for path in sorted((FOLDER / "folder_of_masks").rglob("*.png"))
    }
    spread = {}  # more than a block lies between the pictures
    for name, data in pictures.items():
        spread |= {f"{name}.rest": os.urandom(3 << 20), name: data}
    made = {
        "pictures.zip": zipped(scratch / "pictures.zip", pictures),
        "pictures.tar": tarred(scratch / "pictures.tar", pictures),
        "spread.zip": zipped(scratch / "spread.zip", spread),
        "spread.tar": tarred(scratch / "spread.tar", spread),
        "whole.zip": zipped(scratch / "whole.zip", whole),
        "whole.tar": tarred(scratch / "whole.tar", whole),
        "packed.tar.gz": tarred(scratch / "packed.tar.gz", whole, "w:gz"),
        "parquet.zip": zipped(scratch / "parquet.zip", {"a.parquet": b"PAR1"}),
    }
    files = {name: path.read_bytes() for name, path in made.items()}
    files["cut.tar"] = files["pictures.tar"][:700]
    files["cut.zip"] = files["pictures.zip"][:-30]
    changed = bytearray(files["pictures.zip"])
    changed[changed.index(b"a.png") + 10] ^= 0xFF
    files["changed.zip"] = bytes(changed)
    return files


READ_REMOTE = """
import sys
from pdlm_cli.sources import open_with_sources
from pdlm_cli.stores import open_store
from pdlm_cli.errors import RegionError
from tests.cli.test_inputs import read, same
from tests.cli.sample_pictures import SAMPLE
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


READ_ARCHIVES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.sources import open_with_sources
from pdlm_cli.stores import open_store
from pdlm_cli import archives, remote
from tests.cli.test_inputs import read, same
from tests.cli.sample_pictures import SAMPLE
masks = "tests/data/inputs/coco/masks.json"
for form in ("zip", "tar"):
    same(read(*open_with_sources(masks, images=f"s3://photos/pictures.{form}")), SAMPLE)
    found, sources = open_with_sources(f"s3://photos/whole.{form}")
    assert found.format == "image-folder"
    same(read(found, sources), SAMPLE)
    assert found.sha256 == open_with_sources("tests/data/inputs/folder_of_masks")[0].sha256
    store = open_store(f"s3://photos/spread.{form}")
    assert store.location == f"s3://photos/spread.{form}"
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda name: store.open(name).read(), ["a.png", "b.png"] * 8))
    assert found == [picture.png() for picture in SAMPLE] * 8
    store = open_store(f"s3://photos/pictures.{form}")
    for name, code in (("none.png", "missing_image"), ("../secret.png", "outside_root"),
                       ("s3://photos/secret.png", "outside_root")):
        try:
            store.open(name)
        except RegionError as error:
            assert error.code == code and (code != "missing_image" or store.location in str(error)), error
        else:
            sys.exit("no error")
    archives.MAX_MEMBER = 10
    try:
        store.open("a.png")
    except RegionError as error:
        assert error.code == "bad_image" and "files in archives may have" in str(error), error
    else:
        sys.exit("no error")
    archives.MAX_MEMBER = 256 << 20
remote.BLOCK, remote.BLOCKS = 64 << 10, 3
with remote.open_in_blocks("s3://photos/spread.tar") as file:
    size = sum(len(file.read(50_000)) for _ in range(200))
    assert size == file.size and file.cache.cache_info().currsize == 3, file.cache.cache_info()
try:
    open_store("s3://photos/changed.zip").open("a.png")
except RegionError as error:
    assert error.code == "bad_image" and "from s3://photos/changed.zip" in str(error), error
else:
    sys.exit("no error")
for wanted, said, opens in (
    ("none.zip", "cannot read s3://photos/none.zip: no file is there, nor any below it", (masks, "images")),
    ("none.zip", "cannot read s3://photos/none.zip", ()),
    ("cut.tar", "s3://photos/cut.tar is no folder, zip or plain tar", (masks, "images")),
    ("cut.tar", "s3://photos/cut.tar is no folder, zip or plain tar", ()),
    ("cut.zip", "s3://photos/cut.zip is no folder, zip or plain tar", (masks, "images")),
    ("packed.tar.gz", "a compressed tar cannot be read in any order: unpack it", (masks, "images")),
    ("packed.tar.gz", "s3://photos/packed.tar.gz: it is compressed by gzip", ()),
    ("parquet.zip", "s3://photos/parquet.zip: Parquet files are not read inside an archive; unpack it", ()),
):
    address = "s3://photos/" + wanted
    try:
        open_with_sources(masks, images=address) if opens else open_with_sources(address)
    except InputError as error:
        assert said in str(error), error
    else:
        sys.exit(f"no error: {wanted}")
"""


def in_a_process(bucket: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Python with these arguments: the client keeps threads and connections to the end of its process."""
    environment = os.environ | bucket | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", [READ_REMOTE, READ_ARCHIVES], ids=["files", "archives"])
def test_pictures_and_inputs_at_addresses_of_s3(bucket: dict[str, str], script: str) -> None:
    done = in_a_process(bucket, "-c", script)
    assert done.returncode == 0, done.stderr


def test_a_run_of_an_archive_at_an_address_is_resumed_and_reported(bucket: dict[str, str], tmp_path: Path) -> None:
    def pdlm(*arguments: object) -> str:
        done = in_a_process(bucket, "-m", "pdlm_cli", *map(str, arguments))
        assert done.returncode == 0, done.stderr
        return done.stderr

    out = tmp_path / "out"
    caption = ["caption", "--input", "s3://photos/whole.zip", "--output", out, "--dry-run-model", "--part-rows", 1]
    pdlm(*caption)
    parts = sorted((out / "data").iterdir())
    before = [part.read_bytes() for part in parts]
    assert len(parts) == 2
    (out / "_pdlm/done/00001.json").unlink()  # as if the run had been stopped before
    pdlm(*caption)
    assert parts[0].read_bytes() == before[0]
    pdlm("report", out)
    page = (out / "report.html").read_text()
    assert page.count("data:image/webp;base64,") == 2
    assert "cannot be" not in page
    assert "s3://photos/whole.zip" in page
    pdlm("report", out, "--input", "tests/data/inputs/folder_of_masks", "--output", tmp_path / "moved.html")
    assert (tmp_path / "moved.html").read_text().count("data:image/webp;base64,") == 2
    pdlm("export", out, "--to", "webdataset", tmp_path / "captions.tar", "--input", "s3://photos/whole.tar")


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
