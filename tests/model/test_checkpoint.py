"""Reading and writing checkpoints: strict, without remote code, whatever the layout."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import checkpoint, checkpoint_files
from model.config import PerceptionDLMConfig, RegionConfig
from model.pdlm import PerceptionDLM, PerceptionDLMBase, load_model
from model.sizes import random_model
from tests.model.support import ISOLATED, boxes, picture, tiny

DATA = Path(__file__).parents[1] / "data"
REGION, CHAT = DATA / "region" / "checkpoint", DATA / "chat" / "checkpoint"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A copy of the released region checkpoint that a test may spoil."""
    return Path(shutil.copytree(REGION, tmp_path / "released"))


def edit_json(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps({name: value for name, value in values.items() if value != "REMOVED"}))


def test_released_region_config_is_read():
    config = checkpoint.read_config(REGION)
    assert config.regions == RegionConfig.released(max_regions=6, roi_size=4)
    assert (config.tile_size, config.patch_size, config.token_grid) == (128, 16, 4)
    assert (config.min_tiles, config.max_tiles) == (1, 6)
    assert config.text_config.vocab_size == 468
    assert config.text_config.rope_parameters["rope_theta"] == 500000.0


def test_vocabulary_rows_come_from_the_file(released: Path):
    values = json.loads((released / "config.json").read_text())
    values["language_model_config"]["vocab_size"] = 7
    (released / "config.json").write_text(json.dumps(values))
    assert len(PerceptionDLM.from_pretrained(released).language_model.lm_head.weight) == 468


@pytest.mark.parametrize("source", [REGION, CHAT], ids=["regions", "image-level"])
@pytest.mark.parametrize("shards", ["1MB", "5GB"])
def test_own_layout_round_trips(source: Path, shards: str, tmp_path: Path):
    model = load_model(source, dtype=torch.float32, device=torch.device("cpu"))
    model.save_pretrained(tmp_path, max_shard_size=shards)
    assert len(list(tmp_path.glob("*.safetensors"))) == (2 if shards == "1MB" else 1)
    again = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"))
    assert type(again) is type(model)
    assert again.config.to_json_string() == model.config.to_json_string()
    assert {**vars(again.tokens), "tokenizer": None} == {**vars(model.tokens), "tokenizer": None}
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.state_dict().items())
    assert len(state) == len(again.state_dict())


@pytest.mark.parametrize("sizes", [("200KB", "5GB"), ("5GB", "200KB")], ids=["shards first", "shards last"])
def test_saving_over_a_checkpoint_leaves_nothing_of_it(sizes: tuple[str, str], tmp_path: Path):
    model = random_model("tiny")
    model.save_pretrained(tmp_path, max_shard_size=sizes[0])
    with torch.no_grad():
        model.mask_id_embedding.weight.fill_(7.0)
    model.save_pretrained(tmp_path, max_shard_size=sizes[1])
    assert (PerceptionDLM.from_pretrained(tmp_path).mask_id_embedding.weight == 7.0).all()
    held = {name for path in checkpoint_files.weight_files(tmp_path) for name in load_file(path)}
    assert held == set(model.state_dict())
    assert len(checkpoint_files.weight_files(tmp_path)) == len(list(tmp_path.glob("*.safetensors")))


def test_other_processes_of_a_run_leave_the_files_to_the_first(tmp_path: Path):
    random_model("tiny").save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / "tokenizer.json").exists()


def test_isolated_model_round_trips_with_the_same_captions(tmp_path: Path):
    model = tiny(ISOLATED)
    model.save_pretrained(tmp_path)
    again = PerceptionDLM.from_pretrained(tmp_path)
    assert again.config.regions == ISOLATED
    image, masks = picture(300, 200), boxes(300, 200, 2)
    assert again.caption(image, masks, steps=3, length=6) == model.caption(image, masks, steps=3, length=6)


def test_written_files_are_readable_by_others_and_say_that_weights_are_random(tmp_path: Path):
    random_model("tiny").save_pretrained(tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(modes) == 1
    assert PerceptionDLM.from_pretrained(tmp_path).config.random_weights
    assert not checkpoint.read_config(REGION).random_weights


def test_dtype_is_the_callers():
    model = PerceptionDLM.from_pretrained(REGION, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_name_on_the_hub_works_from_the_cache_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cached = tmp_path / "models--someone--pdlm"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(REGION, cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert checkpoint_files.resolve("someone/pdlm").parent.parent == cached
    with pytest.raises(ValueError, match="no checkpoint at 'someone/else'"):
        checkpoint_files.resolve("someone/else")


@pytest.mark.parametrize("source", ["/no/such/folder", "not a/name/at all"])
def test_what_is_neither_folder_nor_name_is_refused(source: str):
    with pytest.raises(ValueError, match="expected a folder"):
        checkpoint_files.resolve(source)


def test_all_that_does_not_fit_is_listed(released: Path):
    weights = load_file(released / "model.safetensors")
    del weights["language_model.model.norm.weight"]
    del weights["mask_id_embedding.weight"]
    weights["language_model.model.stray"] = torch.zeros(1)
    weights["vision_abstractor.projection.0.bias"] = torch.zeros(3)
    save_file(weights, released / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="do not fit") as error:
        PerceptionDLM.from_pretrained(released)
    message = str(error.value)
    assert "2 missing (language_model.model.norm.weight, mask_id_embedding.weight)" in message
    assert "1 unexpected (language_model.model.stray)" in message
    assert "1 of another shape" in message and "vision_abstractor.projection.0.bias" in message


def test_missing_field_is_named(released: Path):
    edit_json(released / "config.json", prompt_numbers="REMOVED")
    with pytest.raises(ValueError, match="expected a field prompt_numbers"):
        checkpoint.read_config(released)


def test_number_of_prompts_is_read_not_assumed(released: Path):
    edit_json(released / "config.json", prompt_numbers=3)
    weights = load_file(released / "model.safetensors")
    weights["mask_id_embedding.weight"] = weights["mask_id_embedding.weight"][:3].clone()
    save_file(weights, released / "model.safetensors", metadata={"format": "pt"})
    model = PerceptionDLM.from_pretrained(released)
    assert len(model.caption(picture(300, 200), boxes(300, 200, 5), steps=1, length=2)) == 5


def test_tile_limits_come_from_the_processor(released: Path):
    edit_json(released / "processor_config.json", max_sub_img=2)
    assert checkpoint.read_config(released).max_tiles == 2
    (released / "processor_config.json").unlink()
    assert checkpoint.read_config(released).max_tiles == 6


def test_other_model_types_are_refused(released: Path):
    edit_json(released / "config.json", model_type="llava")
    with pytest.raises(ValueError, match="expected model_type perception_dlm, pdmllm or dmllm, found 'llava'"):
        checkpoint.read_config(released)


def test_pickles_are_never_read(released: Path):
    (released / "model.safetensors").unlink()
    torch.save({}, released / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is pickled and never read"):
        PerceptionDLM.from_pretrained(released)


def test_code_in_a_checkpoint_is_never_run(released: Path, tmp_path: Path):
    proof = tmp_path / "ran"
    for name in ("configuration_pdmllm.py", "modeling_pdmllm.py"):
        (released / name).write_text(f"open({str(proof)!r}, 'w')\nraise RuntimeError('ran')\n")
    PerceptionDLM.from_pretrained(released)
    assert not proof.exists()


def test_tokenizer_without_the_special_tokens_is_refused(released: Path):
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(CHAT / name, released / name)
    with pytest.raises(ValueError, match=r"lacks 6 special tokens .*<\|Mask_Cap_0\|>"):
        PerceptionDLM.from_pretrained(released)


def test_kinds_are_not_mixed_up():
    with pytest.raises(ValueError, match=r"load it with PerceptionDLM$"):
        PerceptionDLMBase.from_pretrained(REGION)
    with pytest.raises(ValueError, match="load it with PerceptionDLMBase"):
        PerceptionDLM.from_pretrained(CHAT)


def test_own_config_states_everything(tmp_path: Path):
    values = tiny(ISOLATED).config.to_dict()
    del values["unshuffle"]
    (tmp_path / "config.json").write_text(json.dumps(values, default=str))
    with pytest.raises(ValueError, match="unshuffle"):
        checkpoint.read_config(tmp_path)
    values = tiny(ISOLATED).config.to_dict()
    del values["regions"]["binding"]
    with pytest.raises(ValueError, match=r"missing \['binding'\]"):
        PerceptionDLMConfig(**values)


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_spoilt_json_is_named(text: str, tmp_path: Path):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config\.json"):
        checkpoint.read_config(tmp_path)


def test_fingerprint_follows_config_and_weights(released: Path):
    before = checkpoint_files.fingerprint(released)
    assert before == checkpoint_files.fingerprint(REGION)
    weights = load_file(released / "model.safetensors")
    weights["mask_id_embedding.weight"] += 1
    save_file(weights, released / "model.safetensors", metadata={"format": "pt"})
    assert checkpoint_files.fingerprint(released) != before
