"""From a question about a whole picture to its answer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.batch import collate_images
from model.captions import Caption, cut_caption
from model.decode import NAN_LOGITS
from model.denoiser import slot_logits
from model.layout import Layout, check_room, plan_chat
from model.pdlm import PerceptionDLMBase
from model.preprocess import PreparedImage
from model.rules import Denoised, denoise_blocks
from model.settings import ChatSettings


def answer_question(model: PerceptionDLMBase, image: PreparedImage, question: str, settings: ChatSettings) -> Caption:
    """The answer to a question about a whole picture, by an image-level model or a region model alike.

    Raises ValueError unless the model has room for all of it, FloatingPointError if it gives NaN.
    """
    return answer_layout(model, [image], _plan(model, image, question, settings), settings)


def answer_layout(
    model: PerceptionDLMBase, images: Sequence[PreparedImage], layout: Layout, settings: ChatSettings
) -> Caption:
    """The answer at the end of a conversation about pictures, whatever stands in its slots; these are the length.

    Blocks after its end are not written. Raises ValueError if there is no room for it, FloatingPointError if the model
    gives NaN.
    """
    return answer_layouts(model, images, [layout], settings)[0]


def answer_layouts(
    model: PerceptionDLMBase, images: Sequence[PreparedImage], layouts: Sequence[Layout], settings: ChatSettings
) -> list[Caption]:
    """The same of several conversations at once. images: those of all of them, one after the other."""
    result = _denoise(model, images, layouts, settings, ends=model.tokens.ends)
    if result.broken.any():
        raise FloatingPointError(NAN_LOGITS)
    rows = zip(result.tokens.tolist(), result.confidence.exp().tolist(), result.steps.tolist(), strict=True)
    return [cut_caption(model.tokens, *row) for row in rows]


def denoise_answer(model: PerceptionDLMBase, image: PreparedImage, question: str, settings: ChatSettings) -> Denoised:
    """All slots (1, length) of the answer."""
    return _denoise(model, [image], [_plan(model, image, question, settings)], settings)


@torch.inference_mode()
def _denoise(
    model: PerceptionDLMBase,
    images: Sequence[PreparedImage],
    layouts: Sequence[Layout],
    settings: ChatSettings,
    ends: Sequence[int] = (),
) -> Denoised:
    """All slots (B, length) of the answers at the ends of conversations. ends: see denoise_blocks. Raises ValueError if
    there is no room for one."""
    for layout in layouts:
        check_room(layout, model.config)
    batch = collate_images(images, layouts, model.config).to(model.device)
    embeds = model.embed(batch)

    answers = slot_logits(model, batch, embeds, settings.cache, settings.cfg_scale)

    def logits_fn(canvas: Tensor) -> Tensor:
        return answers(canvas[:, None])[:, 0]

    sampling, mask = settings.sampling(model.tokens.banned_in_chat), model.tokens.mask
    canvas = torch.full((len(layouts), batch.slots.shape[2]), mask, device=model.device)
    generators = [torch.Generator().manual_seed(settings.seed) for _ in layouts]  # an answer is that of its question
    steps, block, sampler = settings.steps, settings.block, settings.sampler
    return denoise_blocks(logits_fn, canvas, mask, steps, block, sampling, generators, ends, sampler)


def _plan(model: PerceptionDLMBase, image: PreparedImage, question: str, settings: ChatSettings) -> Layout:
    blank = [model.tokens.mask] * settings.length
    return plan_chat(model.tokens, model.config, tiles=len(image.tiles), question=question, answer=blank)
