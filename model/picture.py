"""From a picture and any number of masks to their captions."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.captions import Caption
from model.decode import NAN_LOGITS, Watch, caption_passes, check_prompt
from model.geometry import check_masks
from model.passes import region_seed, split_passes
from model.preprocess import prepare_image, prepare_pass
from model.settings import DecodeSettings

if TYPE_CHECKING:  # the model has this as a method
    from model.pdlm import PerceptionDLM

# As Watch, of all captions by the index of their mask.
WatchByName = Callable[[dict[int, list[int]]], None]


def caption_picture(
    model: "PerceptionDLM",
    image: Image.Image,
    masks: NDArray[np.bool_] | Sequence[NDArray[np.bool_]],
    *,
    seed: int = 0,
    batch_size: int = 4,
    watch: WatchByName | None = None,
    **settings: Any,
) -> list[Caption]:
    """Captions of any number of regions of one picture, in the order of the masks.

    masks: (R, H, W) bool, or R of (H, W), in pixels of the picture, none empty. batch_size: passes on the device
    at a time, of the balanced passes that regions are split over. watch: told of the slots of all captions, by the
    index of their mask, before the first step and after each (see `Watch`). settings: fields of `DecodeSettings`.
    Raises ValueError on masks of another size than the picture, empty masks, settings that do not fit and a prompt
    that is too long for the picture, FloatingPointError if the model gives NaN.
    """
    assert model.config.regions is not None
    stacked = check_masks(masks, image.size)
    if not len(stacked):
        return []
    prepared = prepare_image(image.convert("RGB"), model.config)
    digests = [hashlib.sha256(mask.tobytes()).hexdigest() for mask in stacked]
    seeds = [region_seed(seed, digest) for digest in digests]
    shares = split_passes(stacked.sum(axis=(1, 2)).tolist(), digests, model.config.regions.max_regions)
    passes = [
        prepare_pass(prepared, stacked[share], model.config, seeds=[seeds[index] for index in share])
        for share in shares
    ]
    told, chosen = _by_name(watch, shares), DecodeSettings(**settings)
    for share in shares:
        check_prompt(chosen, model.tokens, model.config, tiles=len(prepared.tiles), regions=len(share))
    outputs = caption_passes(model, passes, chosen, told, lanes=batch_size)
    captions: dict[int, Caption] = {}
    for share, output in zip(shares, outputs, strict=True):
        if output.broken:
            raise FloatingPointError(NAN_LOGITS)
        captions.update(zip(share, output.captions, strict=True))
    return [captions[index] for index in range(len(stacked))]


def _by_name(watch: WatchByName | None, names: Sequence[Sequence[int]]) -> Watch | None:
    """A Watch for a batch whose masks have names, by pass; it passes their slots on by name."""
    if watch is None:
        return None
    return lambda ids: watch(dict(zip(chain(*names), chain(*ids), strict=True)))
