"""`pdlm convert` in process."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import save_file

from pdlm_cli import progress
from pdlm_cli.main import main


def test_a_random_checkpoint_loads_and_its_seed_counts(tmp_path: Path) -> None:
    from model.checkpoint_files import fingerprint
    from model.pdlm import PerceptionDLM

    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        result = CliRunner().invoke(main, ["convert", "random", "--seed", str(seed), str(tmp_path / name)])
        assert result.exit_code == 0, result.stderr
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
    assert PerceptionDLM.from_pretrained(tmp_path / "a").config.regions is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of a tiny LLaDA, in LLaMA's names, and of a tiny SigLIP, in its own."""
    from model.sizes import random_model

    llada, siglip = tmp_path / "llada", tmp_path / "siglip"
    model = random_model("tiny", seed=0)
    text, vision = model.config.text_config, model.config.vision_config
    model.tokens.tokenizer.save_pretrained(llada)
    siglip.mkdir()
    for folder, prefix in ((llada, "language_model."), (siglip, "vision_model.")):
        weights = {
            name.removeprefix(prefix): value.clone()
            for name, value in model.state_dict().items()
            if name.startswith(prefix)
        }
        save_file(weights, folder / "model.safetensors")
    fields = text.to_dict() | {"rope_theta": text.rope_parameters["rope_theta"]}
    (llada / "config.json").write_text(json.dumps(fields))
    (siglip / "config.json").write_text(json.dumps({"vision_config": vision.to_dict()}))
    return llada, siglip


def test_llada_and_siglip_become_a_base_model(parts: tuple[Path, Path], tmp_path: Path) -> None:
    from model.pdlm import PerceptionDLMBase

    llada, siglip = map(str, parts)
    out = tmp_path / "base"
    result = CliRunner().invoke(main, ["convert", "llada", "--llada", llada, "--siglip", siglip, str(out)])
    assert result.exit_code == 0, result.stderr or result.exception
    assert PerceptionDLMBase.from_pretrained(out).config.regions is None
    assert out.stat().st_mode & 0o777 == 0o755


def test_making_a_checkpoint_says_what_it_is_doing(
    parts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.Lines, "__exit__", lambda lines, *_: lines.line())
    llada, siglip = map(str, parts)
    made = str(tmp_path / "a")
    commands = {"a": ["random"], "b": ["llada", "--llada", llada, "--siglip", siglip], "c": ["average", made, made]}
    doing = {
        "a": "drawing the weights of size tiny",
        "b": f"reading {llada} and {siglip}, and joining them",
        "c": f"averaging {made} and {made}",
    }
    for name, command in commands.items():
        result = CliRunner().invoke(main, ["convert", *command, str(tmp_path / name)])
        assert result.exit_code == 0, result.stderr
        told = [line.split("INFO: ")[1].split(", for ")[0] for line in result.stderr.splitlines() if ", for " in line]
        assert told == [doing[name], f"writing {tmp_path / name}"]


def test_checkpoints_are_averaged(tmp_path: Path) -> None:
    from model.pdlm import PerceptionDLM

    for name in ("one", "two"):
        make = ["convert", "random", "--seed", "1" if name == "one" else "2", str(tmp_path / name)]
        assert CliRunner().invoke(main, make).exit_code == 0
    one, two, out = (str(tmp_path / name) for name in ("one", "two", "out"))
    result = CliRunner().invoke(main, ["convert", "average", one, two, out])
    assert result.exit_code == 0, result.stderr
    assert PerceptionDLM.from_pretrained(out).config.max_tiles > 1
    assert CliRunner().invoke(main, ["convert", "average", one, str(tmp_path / "mean")]).exit_code == 2


@pytest.mark.parametrize(
    "command", [["random"], ["average", "none", "none"], ["llada", "--llada", "none", "--siglip", "none"]]
)
def test_a_folder_that_exists_is_refused(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, ["convert", *command, str(tmp_path)])
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_unknown_sizes_and_missing_parts_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = str(tmp_path / "out")
    for command in (["random", "--size", "vast"], ["llada", "--llada", "no/such", "--siglip", "no/such"]):
        result = CliRunner().invoke(main, ["convert", *command, out])
        assert result.exit_code == 2, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["convert", "random", str(tmp_path / "file" / "out")])
    assert result.exit_code == 5
    assert "cannot write" in result.stderr
