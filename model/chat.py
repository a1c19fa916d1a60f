"""From a question about a picture to its answer, by an image-level model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.batch import collate_images
from model.decode import Caption, cut_caption
from model.denoiser import CaptionLogits, blind_prefix
from model.diffusion import Denoised, LogitsFn, Sampling, denoise_blocks, guided
from model.layout import plan_chat
from model.preprocess import PreparedImage

if TYPE_CHECKING:  # the model calls this module
    from model.pdlm import PerceptionDLMBase


@dataclass(frozen=True)
class ChatSettings:
    """length: slots of the answer. block: slots written together before the next ones, 1 for left to right.
    steps: over all blocks. The rest as in `model.decode.DecodeSettings`."""

    length: int = 128
    block: int = 32
    steps: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    cfg_scale: float = 0.0
    seed: int = 0


def answer_question(model: "PerceptionDLMBase", image: PreparedImage, question: str, settings: ChatSettings) -> Caption:
    """The answer of an image-level model to a question about a picture."""
    result = denoise_answer(model, image, question, settings)
    confidence = result.confidence.exp()[0].tolist()
    return cut_caption(model.tokens, result.tokens[0].tolist(), confidence, int(result.steps[0]))


@torch.inference_mode()
def denoise_answer(model: "PerceptionDLMBase", image: PreparedImage, question: str, settings: ChatSettings) -> Denoised:
    """All slots (1, length) of the answer."""
    blank = [model.tokens.mask] * settings.length
    layout = plan_chat(model.tokens, model.config, tiles=len(image.tiles), question=question, answer=blank)
    batch = collate_images([image], [layout]).to(model.device)
    embeds = model.embed(batch)

    def logits_of(start: Tensor) -> LogitsFn:
        captions = CaptionLogits(model, batch, start, "none")
        return lambda canvas: captions(canvas[:, None])[:, 0]

    logits_fn = logits_of(embeds)
    if settings.cfg_scale > 0:
        logits_fn = guided(logits_fn, logits_of(blind_prefix(model, batch, embeds)), settings.cfg_scale)
    sampling = Sampling(settings.temperature, settings.top_p, settings.top_k, banned=model.tokens.banned_in_chat)
    canvas = torch.full((1, settings.length), model.tokens.mask, device=model.device)
    generators = [torch.Generator().manual_seed(settings.seed)]
    return denoise_blocks(logits_fn, canvas, model.tokens.mask, settings.steps, settings.block, sampling, generators)
