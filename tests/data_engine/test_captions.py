"""describe and parse are inverse, and parse takes anything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlm_cli.data_engine.attributes import Attributes, Part
from pdlm_cli.data_engine.captions import MAX_WORDS, describe, words
from pdlm_cli.data_engine.kinds import KINDS, THINGS
from pdlm_cli.data_engine.parsing import named_kinds, parse
from tests.data_engine.support import everything, random_attributes

SEEDS = st.integers(0, 2**32 - 1)


def same(first: Attributes, second: Attributes) -> bool:
    return first.kind == second.kind and set(first.parts) == set(second.parts)


@given(SEEDS)
def test_parse_inverts_describe(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attributes = random_attributes(rng, pixels=float(rng.choice([500, 5000, 50000])))
    # Any of its parts may be hidden, the main one too.
    keep = [part for part in attributes.parts if rng.random() < 0.8] or [attributes.parts[-1]]
    attributes = Attributes(attributes.kind, tuple(keep))
    caption = describe(attributes, rng)
    assert same(parse(caption), attributes), caption
    assert len(words(caption)) <= MAX_WORDS
    assert caption[0].isupper() and caption.endswith(".")


def test_captions_of_scenes_state_what_is_there() -> None:
    for scene in everything():
        for item in scene.objects:
            assert same(parse(item.caption), item.attributes), item.caption
            assert named_kinds(item.caption) == {item.kind.name}


def test_one_object_can_be_described_in_many_ways() -> None:
    rng = np.random.default_rng(0)
    parts = (Part("body", ("red",)), Part("wheels", ("black",)), Part("spoiler", ("blue", "white"), "striped"))
    said = {describe(Attributes("car", parts), rng) for _ in range(200)}
    assert len(said) > 50


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["a", "red", "roof", "with", "is", "house", "and", ",", ".", "dots", "in"])).map(
        " ".join
    )
)
def test_any_text_has_a_meaning_even_if_it_is_none(text: str) -> None:
    found = parse(text)
    assert found.kind is None or found.kind in KINDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Attributes(None, ())),
        ("nothing of interest", Attributes(None, ())),
        ("a house", Attributes("house", ())),
        ("a circle", Attributes("circle", (Part("circle"),))),
        ("the roof is red", Attributes(None, (Part("roof", ("red",)),))),
        ("A grey house!", Attributes("house", (Part("walls", ("gray",)),))),
        ("a house with a roof", Attributes("house", (Part("roof"),))),
        ("red roof, red roof", Attributes(None, (Part("roof", ("red",)),))),
        ("a red roof and a blue roof", Attributes(None, (Part("roof", ("red",)), Part("roof", ("blue",))))),
        ("white and red stripes on the roof", Attributes(None, (Part("roof", ("red", "white"), "striped"),))),
        ("a roof with white and red stripes", Attributes(None, (Part("roof", ("red", "white"), "striped"),))),
        ("a white roof with red dots", Attributes(None, (Part("roof", ("white", "red"), "dotted"),))),
        ("a red car beside a blue house", Attributes("car", (Part("body", ("red",)),))),
        ("A red red red car car car", Attributes("car", (Part("body", ("red",)),))),
    ],
)
def test_free_text_is_read_for_what_it_mentions(text: str, expected: Attributes) -> None:
    assert parse(text) == expected


def test_names_of_parts_are_names_of_no_thing() -> None:
    parts = {part.name for kind in THINGS for part in kind.parts}
    assert not parts & {word for kind in KINDS.values() for word in (kind.name, kind.plural)}
