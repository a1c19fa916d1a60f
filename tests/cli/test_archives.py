"""Pictures and whole inputs inside zip and tar files."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pdlm_cli import archives
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.sources import open_with_sources
from pdlm_cli.stores import Store, open_store
from tests.cli.sample_pictures import FOLDER, SAMPLE
from tests.cli.test_inputs import read, same

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
    with pytest.raises(RegionError, match=r"no file 'none.png' in .*pictures.archive, which holds 'a.png'; --images"):
        store.open("none.png")
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
