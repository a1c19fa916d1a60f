"""Questions about a whole picture: sampling, region models, settings."""

import copy
from dataclasses import replace

import pytest
import torch

from model.chat import answer_layout, answer_layouts, answer_question
from model.layout import plan_chat
from model.pdlm import load_model
from model.preprocess import prepare_image
from model.settings import ChatSettings
from tests.model.support import ISOLATED, RELEASED, picture, tiny
from tests.model.test_checkpoint import CHAT


def test_sampled_answers_follow_the_seed():
    model = load_model(CHAT, dtype=torch.float32, device=torch.device("cpu"))
    image = prepare_image(picture(300, 200), model.config)

    def ask(seed: int, **sampling: float):
        settings = ChatSettings(length=8, block=4, steps=8, seed=seed, **{"temperature": 1.0, **sampling})
        return answer_question(model, image, "What?", settings)

    assert ask(1) == ask(1)
    assert ask(1) != ask(2)
    greedy = ask(1, temperature=0.0)
    assert ask(1, top_p=1e-6).tokens == ask(2, top_k=1).tokens == greedy.tokens


def test_region_models_answer_questions_about_the_whole_picture():
    for regions in (ISOLATED, RELEASED):
        model = tiny(regions)
        image = prepare_image(picture(300, 200), model.config)
        settings = ChatSettings(length=8, block=4, steps=8)
        answers = [answer_question(model, image, question, settings) for question in ("What?", "How many?")]
        assert answers[0].mean_confidence != answers[1].mean_confidence
        assert all(answer.tokens_generated for answer in answers)


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 0},
        {"block": 0},
        {"steps": 0},
        {"block": 5},
        {"length": 96, "block": 32, "steps": 16},
        {"top_p": 0.0},
        {"sampler": "best"},
        {"cache": "exact"},
        {"cfg_scale": -1},
    ],
)
def test_unusable_chat_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"expected|at least 1|one of"):
        ChatSettings(**settings)


def test_answers_asked_for_together_are_those_of_each_alone():
    model = load_model(CHAT, dtype=torch.float32, device=torch.device("cpu"))
    images = [prepare_image(picture(*size), model.config) for size in ((300, 200), (100, 100))]
    settings = ChatSettings(length=8, block=4, steps=8, temperature=1.0)
    layouts = [
        plan_chat(model.tokens, model.config, tiles=len(image.tiles), question=question, answer=[0] * 8)
        for image, question in zip(images, ("What is this?", "Why?"), strict=True)
    ]
    alone = [answer_layout(model, [image], own, settings) for image, own in zip(images, layouts, strict=True)]
    together = answer_layouts(model, images, layouts, settings)
    assert [answer.tokens for answer in together] == [answer.tokens for answer in alone]


def test_sure_tokens_of_an_answer_are_written_together():
    model = copy.deepcopy(tiny(ISOLATED))
    image = prepare_image(picture(100, 100), model.config)
    model.language_model.lm_head.weight.data *= 1e4
    settings = ChatSettings(length=8, block=8, steps=8)
    slow = answer_question(model, image, "What?", settings)
    fast = answer_question(model, image, "What?", replace(settings, sampler="threshold"))
    assert fast.denoise_steps < slow.denoise_steps == 8


def test_prompt_and_picture_are_computed_as_often_as_the_cache_says(monkeypatch):
    model = load_model(CHAT, dtype=torch.float32, device=torch.device("cpu"))
    image = prepare_image(picture(300, 200), model.config)
    run, rows = model.run, []

    def counted(embeds, *rest):
        rows.append(embeds.shape[1])
        return run(embeds, *rest)

    monkeypatch.setattr(model, "run", counted)

    def ask(cache: str):
        rows.clear()
        answer = answer_question(model, image, "What?", ChatSettings(length=8, block=4, steps=8, cache=cache))
        return answer, [count == rows[0] for count in rows]

    always, never = [True] * 8, [False] * 3
    plain, whole = ask("none")
    assert whole == always
    assert ask("refresh=1") == (plain, always)
    assert ask("refresh=4")[1] == [True, *never] * 2
    assert ask("frozen")[1] == [True, *[False] * 7]
