"""Learning which words captions have, from RoI tokens alone."""

import math

import pytest
import torch

from model.pdlm import load_model
from model.sizes import random_model
from model.words import Words, caption_words, word_prior
from pdlm_cli.errors import InputError
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.samples import Samples
from tests.training.support import job, losses, squares, train

MODEL = random_model("tiny", seed=0)
DATA = {"caption_length": 16, "workers": 0}


def samples_of(tmp_path, count):
    settings = job(tmp_path, tmp_path, data={"sources": [{"path": str(squares(tmp_path, 4))}], **DATA}, batch=4)
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


def test_words_of_a_model_without_regions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="words are learnt from regions, found data of another kind"):
        job(tmp_path, tmp_path, objective="words", data={"sources": [{"path": "x.json", "kind": "chat"}]})
    settings = job(
        squares(tmp_path / "data", 4), tmp_path / "out", objective="words", model={"random": {"size": "tiny"}}
    )
    with pytest.raises(InputError, match="data of regions does not fit a model that has none"):
        train(settings)
