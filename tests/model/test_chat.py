"""Questions about a whole picture: sampling, region models, settings."""

import pytest
import torch

from model.chat import ChatSettings, answer_question
from model.pdlm import load_model
from model.preprocess import prepare_image
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


@pytest.mark.parametrize("settings", [{"length": 0}, {"block": 0}, {"steps": 0}, {"top_p": 0.0}])
def test_unusable_chat_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"expected|at least 1"):
        ChatSettings(**settings)
