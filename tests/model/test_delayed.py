"""Keys and values of tokens that are kept: against all rows computed anew, where what is kept takes their place."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from model import caption_rows
from model.attention import structured_mask
from model.batch import Batch
from model.captions import cut_caption
from model.config import RegionConfig
from model.decode import caption_passes, plan_batch
from model.packed import attend_apart, attend_together
from model.pdlm import PerceptionDLM
from model.preprocess import PreparedPass
from model.rules import Pools, advance
from model.sampling import predict
from model.settings import SAMPLERS, DecodeSettings
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, tiny
from tests.model.test_stream import EARLY, mixed_passes, rows_of_steps

DELAYED = [sampler for sampler in SAMPLERS if sampler != "remask"]


class Slow:
    """Hidden states of a pass in every step, layer by layer, of which rows that are not fresh keep keys and values."""

    def __init__(self, model: PerceptionDLM, batch: Batch) -> None:
        self.decoder, self.batch = model.language_model.model, batch
        self.sees = structured_mask(batch.kind, batch.region, "isolated")
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, embeds: Tensor, fresh: Tensor) -> Tensor:
        hidden, rotation = embeds, self.decoder.rotary_emb(embeds, self.batch.position_ids)
        for number, layer in enumerate(self.decoder.layers):
            hidden = hidden + self._look(number, layer.input_layernorm(hidden), rotation, fresh)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return self.decoder.norm(hidden)

    def _look(self, number: int, rows: Tensor, rotation: Any, fresh: Tensor) -> Tensor:
        own: Any = self.decoder.layers[number].self_attn
        query, key, value = (
            project(rows).unflatten(2, (-1, own.head_dim)).transpose(1, 2)
            for project in (own.q_proj, own.k_proj, own.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *rotation)
        if number in self.kept:
            before = self.kept[number]
            key, value = (torch.where(fresh[:, None], *pair) for pair in zip((key, value), before, strict=True))
        self.kept[number] = key, value
        return own.o_proj(F.scaled_dot_product_attention(query, key, value, self.sees).transpose(1, 2).flatten(2))


@torch.inference_mode()
def slow_captions(model: PerceptionDLM, prepared: PreparedPass, settings: DecodeSettings) -> list[list[int]]:
    """Tokens in the slots of each mask of a pass."""
    batch = plan_batch(model, [prepared], settings)
    rule, mask, slots = settings.rule("isolated"), model.tokens.mask, batch.slots[0]
    run, embeds = Slow(model, batch), model.embed(batch)
    pools = Pools.start(torch.full(slots.shape, mask), mask)
    sampling = settings.sampling(model.tokens.banned_in_captions)
    generators = [torch.Generator().manual_seed(seed) for seed in prepared.seeds]
    fresh = torch.ones_like(batch.kind, dtype=torch.bool)
    while pools.masked(mask).any():
        embeds[0, slots] = model.language_model.model.embed_tokens(pools.tokens)
        logits = model.language_model.lm_head(run(embeds, fresh[..., None])[0, slots])
        guess = predict(logits, sampling, generators, entropy=rule.judges_by_entropy)
        fresh = torch.zeros_like(fresh)
        fresh[0, slots] = pools.masked(mask)
        pools = advance(pools, guess, rule, mask)
    return [cut_caption(model.tokens, pools.tokens[slot].tolist(), [0.0], 0).tokens for slot in prepared.slots]


def tokens_of(model: PerceptionDLM, passes: Sequence[PreparedPass], settings: DecodeSettings, lanes: int) -> Any:
    outputs = caption_passes(model, passes, settings, lanes=lanes)
    return [[caption.tokens for caption in output.captions] for output in outputs]


@pytest.mark.parametrize("attend", [attend_apart, attend_together])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("sampler", DELAYED)
def test_tokens_are_those_of_the_slow_way_whatever_shares_the_device(sampler, temperature, attend, monkeypatch):
    monkeypatch.setitem(caption_rows.ATTEND, "cpu", attend)
    model = tiny(ISOLATED)
    passes = mixed_passes(model)
    settings = DecodeSettings(
        steps=8, length=8, sampler=sampler, temperature=temperature, stable=3, cache="delayed", **EARLY
    )
    slow = [slow_captions(model, prepared, settings) for prepared in passes]
    for lanes in (1, 2, 5):
        assert tokens_of(model, passes, settings, lanes) == slow


def test_what_is_kept_is_not_what_would_be_computed():
    """Or the tests above could not tell the two apart."""
    model = tiny(ISOLATED)
    passes, settings = mixed_passes(model), {"steps": 8, "length": 8, "sampler": "topk"}
    found = [tokens_of(model, passes, DecodeSettings(cache=cache, **settings), 2) for cache in ("delayed", "exact")]
    assert found[0] != found[1]


def test_a_row_is_forwarded_until_a_step_has_read_its_token():
    """Marker and slots at first; then the slots that the step before last had left."""
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 2, seed=seed) for seed in range(2)]
    settings = DecodeSettings(steps=6, length=6, sampler="topk", cache="delayed")
    rows, _ = rows_of_steps(model, passes, settings, lanes=2)
    assert rows[2:] == [4 * count for count in (1 + 6, 6, 5, 4, 3, 2)]


@pytest.mark.parametrize("setting", [{"sampler": "remask"}, {"cfg_scale": 1.0}])
def test_what_may_take_tokens_back_keeps_none(setting):
    with pytest.raises(ValueError, match="use cache exact"):
        DecodeSettings(cache="delayed", **setting)


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        (RELEASED, "cache delayed needs isolated attention, and this checkpoint has released attention"),
        (ISOLATED.with_(budget="released"), "positions and budget isolated, found isolated and released"),
    ],
)
def test_captions_have_to_be_apart(regions: RegionConfig, says: str):
    with pytest.raises(ValueError, match=says):
        tiny(regions).caption(picture(300, 200), boxes(300, 200, 1), cache="delayed")
