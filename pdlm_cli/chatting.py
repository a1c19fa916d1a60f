"""`pdlm chat`: questions about one picture, each answered with those before it in mind."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from model.preprocess import PreparedImage, prepare_image
from model.settings import ChatSettings
from pdlm_cli.checkpoints import QUESTIONS, named_or_shipped
from pdlm_cli.device import model_errors
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.images import load_image
from pdlm_cli.loading import load_checkpoint
from pdlm_cli.progress import status

if TYPE_CHECKING:
    from model.pdlm import PerceptionDLMBase


@dataclass(frozen=True)
class Answer:
    """finish_reason: eos, or length if there was no room for more. tokens: of the answer, its end not counted.
    mean_confidence: of these and the end, each when it was written. denoise_steps: until it had ended."""

    question: str
    answer: str
    finish_reason: str
    tokens: int
    mean_confidence: float
    denoise_steps: int
    seconds: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))  # escapes are JSON in every locale


@dataclass
class Conversation:
    """remember: a question is asked after those before it, with their answers; otherwise as if it were the first."""

    model: "PerceptionDLMBase"
    image: PreparedImage
    settings: ChatSettings
    remember: bool
    turns: list[tuple[tuple[str | int, ...], list[int]]] = field(default_factory=list)

    def ask(self, question: str) -> Answer:
        """Raises ConfigError if the model cannot answer it, DeviceError."""
        from model.chat import answer_layout
        from model.layout import plan_conversation

        model, started = self.model, time.monotonic()
        asked = (question,) if self.turns else (len(self.image.tiles), "\n" + question)  # as it was learnt
        blank = [model.tokens.mask] * self.settings.length
        with model_errors():
            layout = plan_conversation(model.tokens, model.config, [*self.turns, (asked, blank)])
            found = answer_layout(model, [self.image], layout, self.settings)
        if self.remember:  # but for what would stand for a picture, should the model have written it
            self.turns.append((asked, [token for token in found.tokens if token != model.tokens.image]))
        return Answer(
            question,
            found.text,
            found.finish_reason,
            found.tokens_generated,
            round(found.mean_confidence, 4),
            found.denoise_steps,
            round(time.monotonic() - started, 3),
        )


def open_conversation(
    picture: Path,
    settings: ChatSettings,
    *,
    remember: bool,
    checkpoint: str | None,
    device: str,
    dtype: str,
    quantize: str | None,
    max_pixels: int,
) -> Conversation:
    """Load the picture, turned as its EXIF says, and then the model. checkpoint: folder or hub id, None for the one
    that ships. device to quantize: as for load_checkpoint. Raises InputError, ConfigError, DeviceError."""
    try:
        pixels = load_image(picture, exif="apply", max_pixels=max_pixels)
    except RegionError as error:
        raise InputError(str(error)) from error
    source = named_or_shipped(checkpoint, QUESTIONS)
    with status("loading the model"):
        model = load_checkpoint(source, device, dtype, quantize=quantize).model
    return Conversation(model, prepare_image(pixels, model.config), settings, remember)
