"""Special tokens, resolved once by name, and the text around an image.

Prompts are built from ids, piece by piece: the text of a user is tokenized as text and can never become a
special token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

REGION_INSTRUCTION = "Describe each masked region in detail."
SYSTEM = "\nYou are a helpful assistant."

NAMES = {
    "begin_of_text": "<|startoftext|>",
    "end_of_text": "<|endoftext|>",
    "start_header": "<|start_header_id|>",
    "end_header": "<|end_header_id|>",
    "end_of_turn": "<|eot_id|>",
    "mask": "<|mdm_mask|>",
    "image": "<IMG_CONTEXT>",
    "image_start": "<img>",
    "image_end": "</img>",
}
CAPTION_MARKER = "<|Mask_Cap_{}|>"
ROI_PLACEHOLDER = "<|reserved_token_{}|>"
MOST_REGIONS = 16  # for which a tokenizer made here has tokens

# LLaDA has these; PerceptionDLM adds the image tokens, then the caption markers.
TEXT_TOKENS = [*list(NAMES.values())[:6], *(ROI_PLACEHOLDER.format(i) for i in range(MOST_REGIONS))]
IMAGE_TOKENS = list(NAMES.values())[6:]
REGION_TOKENS = [CAPTION_MARKER.format(i) for i in range(MOST_REGIONS)]


@dataclass(frozen=True)
class Tokens:
    """A tokenizer and the ids that the prompt, the decoder and the attention mask need.

    captions: `<|Mask_Cap_i|>`, the marker that opens caption i. rois: `<|reserved_token_i|>`, which stands where
    RoI features of region i are put. Both are empty for an image-level checkpoint.
    """

    tokenizer: PreTrainedTokenizerFast
    begin_of_text: int
    end_of_text: int
    start_header: int
    end_header: int
    end_of_turn: int
    mask: int
    image: int
    image_start: int
    image_end: int
    captions: tuple[int, ...]
    rois: tuple[int, ...]

    @classmethod
    def resolve(cls, tokenizer: PreTrainedTokenizerFast, max_regions: int) -> "Tokens":
        """Look every special token up by name; `max_regions` is 0 for an image-level checkpoint.

        Raises ValueError with the names the tokenizer lacks.
        """
        vocabulary = tokenizer.get_vocab()
        markers = [CAPTION_MARKER.format(i) for i in range(max_regions)]
        rois = [ROI_PLACEHOLDER.format(i) for i in range(max_regions)]
        missing = [name for name in [*NAMES.values(), *markers, *rois] if name not in vocabulary]
        if missing:
            raise ValueError(
                f"the tokenizer lacks {len(missing)} special tokens this model needs: {', '.join(missing)}; "
                "use the tokenizer files that belong to the checkpoint"
            )
        return cls(
            tokenizer,
            **{field: vocabulary[name] for field, name in NAMES.items()},
            captions=tuple(vocabulary[name] for name in markers),
            rois=tuple(vocabulary[name] for name in rois),
        )

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a special token inside it stays text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def encode_caption(self, text: str, length: int) -> list[int]:
        """`length` ids: the caption, cut if it is longer, then end tokens. Training predicts the padding too, so that
        short captions end where they should."""
        ids = self.encode(text)[:length]
        return ids + [self.end_of_turn] * (length - len(ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out, surrounding white space stripped."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    def piece(self, token: int) -> str:
        """Text of one id as it stands in the middle of a text: white space kept, special tokens empty."""
        return str(self.tokenizer.decode([token], skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def turn(self, role: str) -> list[int]:
        """`<|start_header_id|>role<|end_header_id|>`"""
        return [self.start_header, *self.encode(role), self.end_header]

    def image_span(self, count: int) -> list[int]:
        """`<img>`, `count` places for image tokens, `</img>`"""
        return [self.image_start, *[self.image] * count, self.image_end]

    def system_and_image(self, image_tokens: int) -> list[int]:
        """The prompt of a region pass up to and including the image."""
        system = [*self.turn("system"), *self.encode(SYSTEM), self.end_of_turn, *self.encode("\n")]
        return [*system, *self.turn("user"), *self.encode("\n"), *self.image_span(image_tokens)]

    def instruction(self, text: str) -> list[int]:
        """The instruction and the opening of the answer."""
        ask = [*self.encode("\n" + text), self.end_of_turn, *self.encode("\n")]
        return [*ask, *self.turn("assistant"), *self.encode("\n")]

    def question(self, image_tokens: int, text: str) -> list[int]:
        """The image-level prompt: no system turn."""
        return self.ask([image_tokens, "\n" + text])

    def ask(self, parts: Sequence[str | int]) -> list[int]:
        """A user's turn and the opening of the answer. parts: texts, and the number of image tokens of each picture."""
        spans = [self.encode(part) if isinstance(part, str) else self.image_span(part) for part in parts]
        asked = [*self.turn("user"), *self.encode("\n"), *(i for span in spans for i in span), self.end_of_turn]
        return [*asked, *self.turn("assistant"), *self.encode("\n")]

    @property
    def ends(self) -> tuple[int, int]:
        """Ids after which no caption or answer goes on."""
        return self.end_of_turn, self.end_of_text

    @property
    def banned_in_chat(self) -> torch.Tensor:
        """Ids that an answer never contains: begin and end of text, headers, mask."""
        ids = [self.begin_of_text, self.end_of_text, self.start_header, self.end_header, self.mask]
        return torch.tensor(ids)

    @property
    def banned_in_captions(self) -> torch.Tensor:
        """Every special id but the two that end a caption."""
        return torch.tensor(sorted(self.special - set(self.ends)))

    @property
    def special(self) -> set[int]:
        """Ids that stand for no text."""
        return {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
