"""Learning which words captions have, from RoI tokens alone."""

import json
import math

import numpy as np
import pytest
import torch

from model.diffusion import Noise
from model.pdlm import load_model
from model.preprocess import PreparedPass
from model.sizes import random_model
from model.words import Both, Words, caption_words, word_prior
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.evaluation import HeldOut
from pdlm_cli.training.samples import Samples
from tests.training.support import job, losses, squares, train
from tests.training.test_mixed import mixed_sources

MODEL = random_model("tiny", seed=0)
DATA = {"caption_length": 16, "workers": 0}


def samples_of(tmp_path, count, objective="words", sources=None):
    sources = sources or [{"path": str(squares(tmp_path, 4))}]
    settings = job(tmp_path, tmp_path, objective=objective, data={"sources": sources, **DATA}, batch=4)
    samples = Samples(settings.data.sources, settings.data, MODEL.config, MODEL.tokens, seed=0)
    prior = torch.zeros(MODEL.config.text_config.vocab_size)
    return [samples[place] for place in range(count)], Collator.of(settings, MODEL.config, MODEL.tokens, prior)


def test_words_are_the_tokens_of_each_caption_and_its_end(tmp_path):
    found, collate = samples_of(tmp_path, 4)
    inputs = collate(found)
    texts = [text for sample in found for text in sample.texts]
    assert isinstance(inputs.aim, Words) and len(inputs.aim.present) == len(texts)
    for row, text in zip(inputs.aim.present, texts, strict=True):
        assert set(row.nonzero().flatten().tolist()) == {*MODEL.tokens.encode(text), MODEL.tokens.end_of_turn}
    assert inputs.aim.weights.sum().item() == pytest.approx(1)


def test_a_batch_equals_its_samples_one_by_one(tmp_path):
    found, collate = samples_of(tmp_path, 4)
    together = collate(found)
    alone = [collate([sample]) for sample in found]
    expected = torch.stack([MODEL(inputs.batch, inputs.aim) for inputs in alone]).mean()
    torch.testing.assert_close(MODEL(together.batch, together.aim), expected)


def test_the_loss_is_taken_in_fp32_under_autocast(tmp_path):
    found, collate = samples_of(tmp_path, 2)
    words = collate(found).aim
    logits = torch.randn(words.present.shape, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = words.loss(logits)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, words.loss(logits))


def test_only_the_prompted_tower_the_connector_and_the_head_learn(tmp_path):
    found, collate = samples_of(tmp_path, 2)
    inputs = collate(found)
    MODEL.zero_grad()
    MODEL(inputs.batch, inputs.aim).backward()
    learning = {name for name, value in MODEL.named_parameters() if value.grad is not None}
    assert not any(name.startswith("language_model.model.") for name in learning)
    rest = {name for name, _ in MODEL.named_parameters() if not name.startswith("language_model.model.")}
    assert learning == rest
    MODEL.zero_grad()


def test_words_beside_captions_add_their_share(tmp_path):
    found, collate = samples_of(tmp_path, 4, "both")
    inputs = collate(found)
    assert isinstance(inputs.aim, Both)
    share = collate.job.word_share
    assert inputs.aim.words.weights.sum().item() == pytest.approx(share)
    words = caption_words(inputs.batch, collate.prior)
    expected = MODEL(inputs.batch, inputs.aim.noise) + share * MODEL(inputs.batch, words)
    torch.testing.assert_close(MODEL(inputs.batch, inputs.aim), expected)


def test_questions_about_whole_pictures_have_no_words(tmp_path):
    found, collate = samples_of(tmp_path, 6, "both", mixed_sources(tmp_path))
    regions = [sample for sample in found if isinstance(sample.prepared, PreparedPass)]
    chat = [sample for sample in found if not isinstance(sample.prepared, PreparedPass)]
    together, asked = collate(regions + chat), collate(chat)
    assert regions and chat and isinstance(asked.aim, Noise)
    share = collate.job.word_share * len(regions) / len(found)
    assert together.aim.words.weights.sum().item() == pytest.approx(share)
    alone = [collate([sample]) for sample in regions + chat]
    expected = torch.stack([MODEL(inputs.batch, inputs.aim) for inputs in alone]).mean()
    torch.testing.assert_close(MODEL(together.batch, together.aim), expected)


def scenes_with_parts(tmp_path, **changes):
    sources = [{"scenes": {"pictures": 12, "level": 5, "size": 64, "objects": [2, 3], "parts": True}}]
    data = {"sources": sources, "caption_length": 32, "workers": 0}
    settings = job(tmp_path, tmp_path, objective="words", data=data, **changes)
    samples = Samples(settings.data.sources, settings.data, MODEL.config, MODEL.tokens, seed=0)
    prior = torch.zeros(MODEL.config.text_config.vocab_size)
    return samples, Collator.of(settings, MODEL.config, MODEL.tokens, prior)


def test_image_tokens_show_the_parts_that_lie_under_them(tmp_path):
    """In pictures of one and of several tiles: the pixels of a token, put together again, are those of its part."""
    samples, _ = scenes_with_parts(tmp_path)
    n, tiles = MODEL.config.token_grid, set()
    for place in range(8):
        ref = samples.stream.at(place)
        record, sample = samples.records[0][ref.record], samples[place]
        columns, rows = sample.prepared.image.grid
        tiles.add(columns * rows)
        for (text, pixels), (words, tokens) in zip(record["parts"], sample.shown, strict=True):
            assert words == text
            whole = tokens[: columns * rows * n * n].reshape(rows, columns, n, n).swapaxes(1, 2)
            down, across = np.nonzero(pixels)
            height, width = pixels.shape
            where = np.zeros((rows * n, columns * n), dtype=bool)
            where[down * rows * n // height, across * columns * n // width] = True
            assert tokens.any() and not (whole.reshape(rows * n, columns * n) & ~where).any()
    assert len(tiles) > 1


def test_words_of_image_tokens_are_read_from_these_tokens(tmp_path):
    samples, collate = scenes_with_parts(tmp_path)
    found = [samples[place] for place in range(3)]
    together = collate(found)
    alone = [collate([sample]) for sample in found]
    expected = torch.stack([MODEL(inputs.batch, inputs.aim) for inputs in alone]).mean()
    torch.testing.assert_close(MODEL(together.batch, together.aim), expected)
    assert together.aim.weights.sum().item() == pytest.approx(2)  # regions, and image tokens
    for sample, inputs in zip(found, alone, strict=True):
        rows = inputs.aim.present[len(sample.texts) :]
        for row, token in zip(rows, inputs.aim.shown.tolist(), strict=True):
            said = [words for words, tokens in sample.shown if tokens[token]]
            assert set(row.nonzero().flatten().tolist()) == {i for words in said for i in MODEL.tokens.encode(words)}


def test_the_prior_is_the_share_of_texts_as_log_odds():
    prior = word_prior(MODEL.tokens, 300, ["aab", "a", "b"])
    a, b, c = (MODEL.tokens.encode(letter)[0] for letter in "abc")
    assert prior[a].item() == prior[b].item() == pytest.approx(math.log(2.5 / 1.5))
    assert prior[c].item() == pytest.approx(math.log(0.5 / 3.5))


def test_a_model_that_knows_nothing_starts_at_the_entropy_of_its_captions(tmp_path):
    found, collate = samples_of(tmp_path, 2)
    batch = collate(found).batch
    prior = word_prior(MODEL.tokens, len(collate.prior), [text for sample in found for text in sample.texts])
    words = caption_words(batch, prior)
    silent = words.loss(torch.zeros_like(words.present))
    biased = words.loss(torch.zeros_like(words.present) + torch.randn(len(prior)))
    assert silent < biased


def test_a_run_learns_words_and_the_model_goes_on_to_captions(tmp_path):
    file = squares(tmp_path / "data", 4)
    settings = job(file, tmp_path / "out", objective="words", max_steps=30)
    assert train(settings) == 0
    found = losses(tmp_path / "out")
    assert found[30] < 0.7 * found[1]
    assert load_model(tmp_path / "out/model", dtype=torch.float32, device=torch.device("cpu")).config.regions
    after = job(file, tmp_path / "then", model={"start": str(tmp_path / "out/model")}, max_steps=2)
    assert train(after) == 0


def test_a_run_that_learns_both_is_evaluated_on_captions(tmp_path):
    file = squares(tmp_path / "data", 4)
    data = {"sources": [{"path": str(file)}], "held_out": [{"path": str(file)}], "caption_length": 6, "workers": 0}
    report = {"log": 1, "save": 100, "eval": 30, "samples": 4, "steps": 6, "to": []}
    settings = job(file, tmp_path / "out", objective="both", word_share=0.1, data=data, report=report, max_steps=30)
    assert train(settings) == 0
    found = losses(tmp_path / "out")
    assert found[30] < 0.7 * found[1]
    assert (tmp_path / "out/samples/step-000030/captions.jsonl").exists()
    logged = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    [evaluated] = [line["eval_loss"] for line in logged if line.get("event") == "evaluation"]
    trained = load_model(tmp_path / "out/model", dtype=torch.float32, device=torch.device("cpu"))
    captions = HeldOut(settings, trained.config, trained.tokens).losses(trained, torch.device("cpu"))
    assert evaluated == pytest.approx(captions["eval_loss"], rel=1e-4)


def test_words_of_a_model_without_roi_tokens_are_refused(tmp_path):
    file = squares(tmp_path / "data", 4)
    model = {"random": {"size": "tiny"}, "regions": {"roi_features": "none"}}
    with pytest.raises(ConfigError, match="words are read from RoI tokens"):
        train(job(file, tmp_path / "out", objective="both", model=model))


def test_words_of_a_model_without_regions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="words are learnt from regions, found data of another kind"):
        job(tmp_path, tmp_path, objective="words", data={"sources": [{"path": "x.json", "kind": "chat"}]})
    settings = job(
        squares(tmp_path / "data", 4), tmp_path / "out", objective="words", model={"random": {"size": "tiny"}}
    )
    with pytest.raises(InputError, match="data of regions does not fit a model that has none"):
        train(settings)
