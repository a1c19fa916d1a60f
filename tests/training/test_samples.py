"""From files to batches: formats, slots, padding, bad samples, noise."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.config import RegionConfig
from model.diffusion import mask_probability
from model.pdlm import PerceptionDLM
from model.sizes import random_model
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.training.bad_samples import FIRST_LOOK, SHOWN, BadSamples
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.job import ModelStart, Noising, RandomModel, RegionSemantics, TrainJob
from pdlm_cli.training.job_data import Source
from pdlm_cli.training.run import prepare
from pdlm_cli.training.samples import Samples
from pdlm_cli.training.show import mask_letters
from pdlm_cli.training.start import start_model
from pdlm_cli.training.typed_fields import read_settings
from tests.training.support import COLOURS, job, job_values, squares

MODEL = random_model("tiny", seed=0)
WIDTHS = {"vision": (32, 64, 3, 2), "text": (48, 96, 2, 2), "tile": 64, "patch": 8}


def open_samples(settings, model: PerceptionDLM = MODEL) -> Samples:
    return Samples(settings.data.sources, settings.data, model.config, model.tokens, settings.seed)


def as_parquet(file: Path, *, row_group_size: int) -> Path:
    """The same records with the pictures inside."""
    rows = json.loads(file.read_text())
    for row in rows:
        row["image"] = {"bytes": (file.parent / row["image"]).read_bytes(), "path": None}
    out = file.parent / "parquet"
    out.mkdir()
    for part in range(2):
        half = rows[part::2]
        pq.write_table(pa.Table.from_pylist(half), out / f"part-{part}.parquet", row_group_size=row_group_size)
    return out


def contents(sample) -> tuple[str, ...]:
    """What a sample shows, apart from where it came from."""
    return (
        str(sample.images[0].tiles.sum().item()),
        *sorted(sample.texts),
        *map(str, sorted(sample.prepared.boxes[:, 0])),
    )


def test_every_way_of_writing_the_same_data_gives_the_same_samples(tmp_path):
    file = squares(tmp_path, 8)
    records = json.loads(file.read_text())
    lines, other, inside = tmp_path / "a.jsonl", tmp_path / "b.json", tmp_path / "c.json"
    lines.write_text("\n".join(json.dumps(record) for record in records))
    other.write_text(
        json.dumps(
            [
                {
                    "image_file": record["image"],
                    "annotations": [
                        {"segmentation": mask, "caption": text}
                        for mask, text in zip(record["mask_rles"], record["captions"], strict=True)
                    ],
                }
                for record in records
            ]
        )
    )
    inside.write_text(
        json.dumps(
            [
                record
                | {
                    "image": "data:image/png;base64,"
                    + base64.b64encode((tmp_path / record["image"]).read_bytes()).decode()
                }
                for record in records
            ]
        )
    )
    expected = open_samples(job(file, tmp_path))
    for path in (lines, other, inside):
        found = open_samples(job(path, tmp_path))
        for place in range(12):
            assert contents(found[place]) == contents(expected[place])
    parquet = open_samples(job(as_parquet(file, row_group_size=2), tmp_path))
    count = parquet.stream.length(1)
    texts = sorted(text for place in range(count) for text in parquet[place].texts)
    assert texts == sorted(text for record in records for text in record["captions"])


def test_isolated_slots_share_one_random_number_and_hold_the_right_caption(tmp_path):
    settings = job(squares(tmp_path, 12), tmp_path)
    samples = open_samples(replace(settings, data=replace(settings.data, caption_length=14)))
    numbers = set()
    for place in range(40):
        sample = samples[place]
        prepared = sample.prepared
        assert prepared.prompts == prepared.markers
        assert len(set(prepared.prompts)) == len(prepared.prompts)
        numbers |= set(prepared.prompts)
        for slot, text in enumerate(sample.texts):
            span = sample.layout.slots[slot].tolist()
            assert MODEL.tokens.decode(sample.layout.input_ids[span].tolist()) == text
            assert sample.layout.labelled[span].all()
            assert sample.layout.input_ids[span[0] - 1] == MODEL.tokens.captions[prepared.markers[slot]]
            assert sample.layout.input_ids[span[-1]] == MODEL.tokens.end_of_turn
            colour = text.split()[0]
            column = int(text.split()[-1])
            assert column / 3 <= prepared.boxes[slot][0] < (column + 1) / 3, colour
    assert numbers == set(range(6))


def test_released_markers_go_by_area_and_prompts_at_random(tmp_path):
    model = random_model("tiny", seed=0, regions=RegionConfig.released(6, 4))
    samples = open_samples(job(squares(tmp_path, 12), tmp_path), model)
    prompts = set()
    for place in range(30):
        prepared = samples[place].prepared
        assert prepared.markers == tuple(range(len(prepared.order)))
        prompts |= {prepared.prompts}
    assert len({first for first, *_ in prompts}) > 3


def test_regions_that_cannot_be_used_are_left_out_and_said(tmp_path):
    file = squares(tmp_path, 6)
    records = json.loads(file.read_text())
    (tmp_path / "0.png").unlink()
    records[1]["image"] = "/elsewhere/1.png"
    records[2]["mask_rles"][0] = {"size": [64, 96], "counts": "broken"}
    records[3]["mask_rles"][0]["size"] = [10, 10]
    file.write_text(json.dumps(records))
    samples = open_samples(job(file, tmp_path))
    found = [samples[place] for place in range(samples.stream.length(1))]
    problems = "\n".join({problem for sample in found for problem in sample.problems})
    missing = "record 0: missing_image: no file '0.png' in " + f"{tmp_path}; data.sources.images names the folder"
    for part in (
        missing,
        "record 1: outside_root",
        "record 2, region 0: bad_mask",
        "record 3, region 0: size_mismatch",
    ):
        assert part in problems
    assert "--" not in problems  # of no option that `pdlm train` does not have
    assert all(sample.texts for sample in found)
    assert [contents(samples[place]) for place in range(len(found))] == [contents(sample) for sample in found]


def test_data_of_which_nothing_can_be_used_is_an_error(tmp_path):
    file = squares(tmp_path, 3)
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    with pytest.raises(InputError, match="missing_image"):
        open_samples(job(file, tmp_path))[0]


def test_too_long_samples_are_bad(tmp_path):
    settings = job(squares(tmp_path, 3), tmp_path)
    short = replace(settings, data=replace(settings.data, max_tokens=100))
    with pytest.raises(InputError, match=r"data\.max_tokens is 100"):
        open_samples(short)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "expected a list"), ("[1]", "expected a list"), ("[", "not valid JSON"), ("[]", "expected captions")],
)
def test_files_that_are_no_training_data_are_refused(tmp_path, content, message):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        open_samples(job(file, tmp_path))
    with pytest.raises(InputError, match=r"none\.json"):
        open_samples(job(tmp_path / "none.json", tmp_path))


def test_bad_samples_stop_a_run_only_once_their_share_means_something():
    bad = BadSamples(0.1)
    bad.count(1, bad=1, problems=["a"])
    bad.count(FIRST_LOOK - 2, bad=9, problems=["b"] * 9)
    with pytest.raises(InputError, match=r"11 bad samples among 100: more than data\.max_bad_share 10\.00%"):
        bad.count(1, bad=1, problems=[])


def test_the_first_bad_samples_are_told_of_and_the_rest_is_counted(caplog):
    bad = BadSamples(1.0, seen=50, bad=SHOWN - 3)  # of a run that goes on
    with caplog.at_level("WARNING", logger="pdlm_cli"):
        for step, problems in enumerate((["a", "b"], [], ["c", "d"], ["e"])):
            bad.note(problems)
            bad.count(4, bad=len(problems), problems=bad.noted[: bad.to_show])
            assert bad.seen == 50 + 4 * (step + 1)
    last = "further bad samples are only counted"
    assert [record.getMessage() for record in caplog.records] == ["skipped: a", "skipped: b", "skipped: c", last]
    assert bad.bad == SHOWN + 2 and bad.noted == []


def test_data_must_fit_the_model(tmp_path):
    settings = job(squares(tmp_path, 2), tmp_path)
    base = random_model("tiny").config
    base.regions = None
    with pytest.raises(InputError, match="data of regions does not fit a model that has none"):
        Samples(settings.data.sources, settings.data, base, MODEL.tokens, seed=0)


def test_a_sample_gets_the_same_noise_in_whatever_batch(tmp_path):
    settings = replace(job(squares(tmp_path, 6), tmp_path), noise=Noising(times="stratified", replace=0.5), batch=4)
    collate = Collator.of(settings, MODEL.config, MODEL.tokens)
    samples = open_samples(settings)
    four = [samples[place] for place in range(4)]
    together = collate(four)
    for row, sample in enumerate(four):
        alone = collate([sample])
        assert torch.equal(alone.aim.probability, together.aim.probability[row : row + 1])
        mine = together.batch.labelled[row]
        assert torch.equal(alone.aim.hit[alone.batch.labelled], together.aim.hit[row, mine])
        assert torch.equal(alone.aim.tokens[alone.batch.labelled], together.aim.tokens[row, mine])


def test_stratified_times_fall_one_into_each_part(tmp_path):
    settings = replace(job(squares(tmp_path, 6), tmp_path), noise=Noising(times="stratified"), batch=8)
    samples = open_samples(settings)
    probability = Collator.of(settings, MODEL.config, MODEL.tokens)([samples[p] for p in range(8)]).aim.probability
    edges = mask_probability(torch.arange(9) / 8)
    assert ((probability >= edges[:-1]) & (probability <= edges[1:])).all()


def test_a_twin_hides_what_its_caption_shows(tmp_path):
    settings = replace(job(squares(tmp_path, 6), tmp_path), noise=Noising(twins=True), batch=4)
    samples = open_samples(settings)
    inputs = Collator.of(settings, MODEL.config, MODEL.tokens)([samples[place] for place in range(4)])
    plain = Collator.of(replace(settings, noise=Noising()), MODEL.config, MODEL.tokens)([samples[p] for p in range(4)])
    end = plain.batch.input_ids.shape[1]
    labelled = plain.batch.labelled[:, plain.batch.answer]
    assert torch.equal(inputs.aim.hit[:, :end], plain.aim.hit)
    assert torch.equal(inputs.aim.hit[:, end:], labelled & ~plain.aim.hit[:, plain.batch.answer])
    assert torch.equal(inputs.batch.input_ids[:, end:][labelled], plain.batch.input_ids[plain.batch.labelled])


def test_captions_that_are_not_isolated_have_no_twins(tmp_path):
    values = job_values(squares(tmp_path, 2), tmp_path / "out", noise={"twins": True})
    values["model"]["regions"]["semantics"] = "released"
    with pytest.raises(ConfigError, match=r"noise\.twins: expected a model whose captions are isolated"):
        prepare(read_settings(TrainJob, values))


def test_replacement_noise_puts_words_where_masks_were(tmp_path):
    settings = replace(job(squares(tmp_path, 6), tmp_path), noise=Noising(replace=0.5))
    samples = open_samples(settings)
    inputs = Collator.of(settings, MODEL.config, MODEL.tokens)([samples[place] for place in range(20)])
    hit = inputs.aim.tokens[inputs.aim.hit]
    masked = (hit == MODEL.tokens.mask).float().mean().item()
    assert 0.35 < masked < 0.65
    assert (hit[hit != MODEL.tokens.mask] < 256).all()
    assert inputs.aim.replaced


def test_models_start_from_widths_or_an_image_level_checkpoint(tmp_path):
    base = start_model(ModelStart(random=RandomModel(**WIDTHS, vocabulary=320)), seed=1, texts=["red top", "red low"])
    assert base.config.regions is None
    assert len(base.tokens.encode("red top")) < len("red top")
    base.save_pretrained(tmp_path / "base")
    wanted = RegionSemantics(max_regions=3, roi_size=2, binding="released")
    model = start_model(ModelStart(start=str(tmp_path / "base"), regions=wanted), seed=1, texts=())
    assert isinstance(model, PerceptionDLM)
    assert model.config.regions == RegionConfig.isolated(3, 2).with_(binding="released")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in base.state_dict().items())
    model.save_pretrained(tmp_path / "regions")
    left = start_model(ModelStart(start=str(tmp_path / "regions"), image_level=True), seed=1, texts=())
    assert left.config.regions is None and left.tokens.captions == ()
    kept, had = left.state_dict(), model.state_dict()
    assert had.keys() - kept.keys() == {"mask_id_embedding.weight"}
    assert all(torch.equal(value, had[name]) for name, value in kept.items())
    again = ModelStart(start=str(tmp_path / "regions"), regions=replace(wanted, max_regions=4))
    with pytest.raises(ConfigError, match="regions of its own"):
        start_model(again, seed=1, texts=())
    with pytest.raises(ConfigError, match="no checkpoint at"):
        start_model(ModelStart(start=str(tmp_path / "none")), seed=1, texts=())


def test_mask_letters_draw_the_regions(tmp_path):
    samples = open_samples(job(squares(tmp_path, 6), tmp_path))
    sample = next(s for s in map(samples.__getitem__, range(20)) if len(s.texts) == 2)
    drawn = "".join(mask_letters(sample))
    assert set(drawn) == {".", "0", "1"}
    assert set(COLOURS) >= {text.split()[0] for text in sample.texts}
    assert Source(path="x").weight == 1
    assert np.array(sample.prepared.boxes).shape == (2, 4)
