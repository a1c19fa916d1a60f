import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlm_cli.data_engine.captions import describe
from pdlm_cli.data_engine.tokenizer import train_tokenizer
from tests.data_engine.support import everything, random_attributes

LENGTH = 32  # of a caption's span, the end included


def captions(seed: int, count: int) -> list[str]:
    """Of as many objects as can be; large ones, so that as much as possible can be said of each."""
    rng = np.random.default_rng(seed)
    return [describe(random_attributes(rng), rng) for _ in range(count)]


def test_the_captions_of_two_thousand_scenes_leave_room_for_the_end() -> None:
    tokenizer = train_tokenizer(captions(0, 3000), 1024)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(captions(1, 2000 * 3))]
    assert max(lengths) <= LENGTH - 1
    drawn = [caption for scene in everything() for caption in scene.captions]
    assert max(len(encoding.ids) for encoding in tokenizer.encode_batch(drawn)) <= LENGTH - 1


@pytest.fixture(scope="module")
def small():
    return train_tokenizer(captions(0, 300), 600, special_tokens=["<|eot_id|>"])


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(small, text: str) -> None:
    assert small.decode(small.encode(text).ids) == text


def test_special_tokens_come_first_and_are_whole(small) -> None:
    assert small.token_to_id("<|eot_id|>") == 0
    assert small.encode("A car.<|eot_id|>").ids[-1] == 0
    assert small.get_vocab_size() <= 600


def test_training_is_the_same_every_time() -> None:
    texts = captions(0, 200)
    assert train_tokenizer(texts, 400).to_str() == train_tokenizer(texts, 400).to_str()


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        train_tokenizer(["a"], 256, ["<end>"])
