"""Inputs and pictures at addresses: a real S3 service on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pdlm_cli import remote
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.sources import open_with_sources
from tests.cli.sample_pictures import FOLDER, SAMPLE


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
    client.put_object(Bucket="photos", Key="secret.png", Body=SAMPLE[0].png())
    client.put_object(Bucket="photos", Key="coco/b\u00fcro.png", Body=SAMPLE[0].png())
    client.put_object(Bucket="photos", Key="coco/empty.png", Body=b"")
    yield environment
    server.stop()


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
