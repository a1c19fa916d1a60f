"""All readers, fed with broken inputs by atheris: python -m tests.fuzz SECONDS [READER]

Each reader is tried in a process of its own, starting from the samples in tests/data. Whatever it does but read its
input or refuse it with the error it is meant to raise is a finding: the process ends, and the input is kept in
out/fuzz/READER. Findings become regression tests beside the others of that reader.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["pdlm_cli"]):
    from pdlm_cli import logs, strict_json
    from pdlm_cli.errors import PdlmError, RegionError
    from pdlm_cli.images import load_image
    from pdlm_cli.json_stream import JsonStream
    from pdlm_cli.mask_files import inside, read_values
    from pdlm_cli.masks import decode_on
    from pdlm_cli.sources import MaskReader, open_with_sources

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/data/inputs"
LARGEST = 1 << 16  # bytes of an input
MAX_PIXELS = 1 << 16
LIMITS = ["-rss_limit_mb=4096", "-timeout=30", f"-max_len={LARGEST}", "-print_final_stats=0", "-verbosity=0"]


def read_json(data: bytes) -> None:
    """In pieces and whole, it is valid or it is not."""
    found = []
    for read in (lambda: list(JsonStream(io.BytesIO(data)).items()), lambda: strict_json.loads(data)):
        try:
            read()
            found.append("valid")
        except ValueError:
            found.append("refused")
    assert found[0] == found[1], found


def read_mask(data: bytes) -> None:
    """A mask as JSON, or else run lengths as text."""
    try:
        mask = strict_json.loads(data)
    except ValueError:
        mask = {"size": [30, 40], "counts": data.decode("latin-1")}
    try:
        pixels = decode_on(mask, (40, 30))
    except RegionError:
        return
    assert pixels.shape == (30, 40) and pixels.dtype == bool


def read_picture(data: bytes) -> None:
    """A photo, and a picture of masks."""
    for read in (
        lambda: load_image(io.BytesIO(data), name="x", exif="apply", max_pixels=MAX_PIXELS),
        lambda: inside(read_values(io.BytesIO(data), "x", MAX_PIXELS), {"file": "x", "id": 1}),
    ):
        try:
            read()
        except RegionError:
            continue


def read_input(data: bytes) -> None:
    """A file of any format, all its pictures and masks."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder, "input")
        file.write_bytes(data)
        try:
            manifest, sources = open_with_sources(str(file), max_pixels=MAX_PIXELS)
        except PdlmError:
            return
        for entry in manifest:
            masks = MaskReader(sources, entry)
            for region in entry.regions:
                try:
                    masks.pixels(region, sources.picture(entry).size)
                except RegionError:
                    continue


def json_samples() -> Iterator[bytes]:
    for file in sorted(SAMPLES.rglob("*.json")):
        yield file.read_bytes()


def mask_samples() -> Iterator[bytes]:
    yield b'{"size": [30, 40], "counts": "Z24K5O1"}'
    yield b'{"size": [30, 40], "counts": [100, 1000, 100]}'
    yield b"[[1, 2, 30, 4, 5.5, 20]]"
    yield b'{"box": [1, 2, 30, 4]}'


def picture_samples() -> Iterator[bytes]:
    for file in sorted(SAMPLES.rglob("*.png")):
        yield file.read_bytes()


def parquet_samples() -> Iterator[bytes]:
    for file in sorted(SAMPLES.rglob("*.parquet")):
        yield file.read_bytes()


def archive_samples() -> Iterator[bytes]:
    for folder in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
        packed, tarred = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(file, file.relative_to(folder))
                tar.add(file, str(file.relative_to(folder)))
        yield packed.getvalue()
        yield tarred.getvalue()


READERS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "json": (read_json, json_samples),
    "mask": (read_mask, mask_samples),
    "picture": (read_picture, picture_samples),
    "manifest": (read_input, json_samples),
    "parquet": (read_input, parquet_samples),
    "archive": (read_input, archive_samples),
}


def fuzz(name: str, seconds: int) -> None:
    """Ends the process."""
    read, samples = READERS[name]
    home = ROOT / "out/fuzz" / name
    shutil.rmtree(home, ignore_errors=True)
    corpus = home / "corpus"
    corpus.mkdir(parents=True)
    for number, sample in enumerate(samples()):
        (corpus / f"sample-{number}").write_bytes(sample)
    logs.configure("plain")
    logs.log.setLevel("CRITICAL")
    arguments = [f"-max_total_time={seconds}", f"-artifact_prefix={home}/", *LIMITS, str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], read)
    atheris.Fuzz()


def main(seconds: str, *names: str) -> int:
    failed = 0
    for name in names or READERS:
        print(f"{name}: {seconds} s", flush=True)
        command = [sys.executable, "-c", f"from tests.fuzz.__main__ import fuzz; fuzz({name!r}, {int(seconds)})"]
        failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
