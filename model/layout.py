"""The token plan of a pass: which token is what, and where.

The one truth that attention, RoI replay, decoding and the loss read. A plan is two parts, one after the other:

    released  prefix:  system, <img> image </img>, RoI 0, "\\n", RoI 1, ..., instruction
              answer:  <|Mask_Cap_0|> caption 0 "\\n" <|Mask_Cap_1|> caption 1 ... <|eot_id|>
              positions run from the first token to the last

    isolated  prefix:  system, <img> image </img>, instruction, RoI 0, RoI 1, ...
              answer:  <|Mask_Cap_0|> caption 0 <|Mask_Cap_1|> caption 1 ...
              every RoI starts at the position after the instruction, every caption at the position after its RoI

Without RoI features there are no RoI tokens, and no newlines between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from model.config import PerceptionDLMConfig
from model.tokens import REGION_INSTRUCTION, Tokens


class Kind(IntEnum):
    """What a token is to the attention mask."""

    CONTEXT = 0  # prompt text and image
    ROI = 1
    GAP = 2  # text between RoI spans, hidden from captions
    CAPTION = 3  # marker, caption slots, and what closes them
    PAD = 4  # only in batches


@dataclass(frozen=True)
class Layout:
    """The plan of one pass of R regions, as tensors over its L tokens.

    input_ids: (L,) with placeholders where image and RoI features go. position_ids: (L,).
    kind: (L,) of `Kind`. region: (L,) which region of the pass a RoI or CAPTION token belongs to, else -1.
    image: (N,) where image features go, tile by tile. roi: (R, roi_tokens) where RoI features go, row by row.
    slots: (R, G) caption slots, G the longest caption; -1 where a caption is shorter.
    labelled: (L,) the tokens that training predicts.
    prefix: tokens before the answer; the answer is the rest.
    """

    input_ids: Tensor
    position_ids: Tensor
    kind: Tensor
    region: Tensor
    image: Tensor
    roi: Tensor
    slots: Tensor
    labelled: Tensor
    prefix: int


class _Plan:
    """Collects tokens in order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.kinds: list[int] = []
        self.regions: list[int] = []
        self.labelled: list[bool] = []

    def add(
        self,
        ids: Sequence[int],
        kind: Kind,
        region: int = -1,
        *,
        at: int | None = None,
        labelled: bool = False,
    ) -> range:
        """Append tokens at position `at` (after the last position, if None); the indices they got."""
        first, count = len(self.ids), len(ids)
        start = at if at is not None else (self.positions[-1] + 1 if self.positions else 0)
        self.ids += ids
        self.positions += range(start, start + count)
        self.kinds += [kind] * count
        self.regions += [region] * count
        self.labelled += [labelled] * count
        return range(first, first + count)

    def layout(self, image_id: int, rois: list[range], slots: list[range], prefix: int) -> Layout:
        ids = torch.tensor(self.ids)
        longest = max((len(span) for span in slots), default=0)
        padded = [[*span, *[-1] * (longest - len(span))] for span in slots]
        return Layout(
            input_ids=ids,
            position_ids=torch.tensor(self.positions),
            kind=torch.tensor(self.kinds),
            region=torch.tensor(self.regions),
            image=(ids == image_id).nonzero().squeeze(1),
            roi=torch.tensor([list(span) for span in rois], dtype=torch.long),
            slots=torch.tensor(padded, dtype=torch.long),
            labelled=torch.tensor(self.labelled),
            prefix=prefix,
        )


def plan_pass(
    tokens: Tokens,
    config: PerceptionDLMConfig,
    *,
    tiles: int,
    captions: Sequence[Sequence[int]],
    markers: Sequence[int] | None = None,
    instruction: str | None = None,
) -> Layout:
    """The plan of a pass over an image of `tiles` tiles, thumbnail included.

    captions: ids of each caption; while decoding, as many mask tokens as there are slots.
    markers: the number of the marker that opens each caption (0, 1, ... if None).
    """
    regions = config.regions
    assert regions is not None and 1 <= len(captions) <= regions.max_regions
    markers = range(len(captions)) if markers is None else markers
    head = tokens.system_and_image(tiles * config.tokens_per_tile)
    ask = tokens.instruction(REGION_INSTRUCTION if instruction is None else instruction)
    build = _running if regions.positions == "released" else _parallel
    return build(tokens, config.roi_tokens, head, ask, captions, markers)


def _running(
    tokens: Tokens,
    roi_tokens: int,
    head: list[int],
    ask: list[int],
    captions: Sequence[Sequence[int]],
    markers: Sequence[int],
) -> Layout:
    plan, rois, slots = _Plan(), [], []
    newline = tokens.encode("\n")
    last = len(captions) - 1
    plan.add(head, Kind.CONTEXT)
    for i in range(len(captions)):
        rois.append(plan.add([tokens.rois[i]] * roi_tokens, Kind.ROI, i))
        if i < last and roi_tokens:
            plan.add(newline, Kind.GAP)
    plan.add(ask, Kind.CONTEXT)
    prefix = len(plan.ids)
    for i, (marker, caption) in enumerate(zip(markers, captions, strict=True)):
        plan.add([tokens.captions[marker]], Kind.CAPTION, i, labelled=True)
        slots.append(plan.add(caption, Kind.CAPTION, i, labelled=True))
        plan.add(newline if i < last else [tokens.end_of_turn], Kind.CAPTION, i, labelled=True)
    return plan.layout(tokens.image, rois, slots, prefix)


def _parallel(
    tokens: Tokens,
    roi_tokens: int,
    head: list[int],
    ask: list[int],
    captions: Sequence[Sequence[int]],
    markers: Sequence[int],
) -> Layout:
    plan, rois, slots = _Plan(), [], []
    plan.add(head + ask, Kind.CONTEXT)
    start = len(plan.ids)
    for i, marker in enumerate(markers):
        rois.append(plan.add([tokens.rois[marker]] * roi_tokens, Kind.ROI, i, at=start))
    prefix = len(plan.ids)
    for i, (marker, caption) in enumerate(zip(markers, captions, strict=True)):
        # The marker is given, never predicted: it tells the caption which region prompt is its own.
        plan.add([tokens.captions[marker]], Kind.CAPTION, i, at=start + roi_tokens)
        slots.append(plan.add(caption, Kind.CAPTION, i, labelled=True))
    return plan.layout(tokens.image, rois, slots, prefix)


def plan_chat(
    tokens: Tokens, config: PerceptionDLMConfig, *, tiles: int, question: str, answer: Sequence[int]
) -> Layout:
    """The plan of an image-level question and its answer: all of it is context to all of it."""
    return plan_conversation(tokens, config, [((tiles, "\n" + question), answer)])


def plan_conversation(
    tokens: Tokens, config: PerceptionDLMConfig, turns: Sequence[tuple[Sequence[str | int], Sequence[int]]]
) -> Layout:
    """The plan of questions and answers, of which the last answer is to be written, or learnt.

    turns: of each question its texts, and the tiles of each picture that stands among them; and the ids of its answer.
    """
    plan = _Plan()
    for number, (parts, answer) in enumerate(turns, 1):
        sized = [part if isinstance(part, str) else part * config.tokens_per_tile for part in parts]
        plan.add(tokens.ask(sized), Kind.CONTEXT)
        prefix = len(plan.ids)
        span = plan.add(answer, Kind.CONTEXT, labelled=number == len(turns))
        if number < len(turns):
            plan.add([tokens.end_of_turn], Kind.CONTEXT)
    return plan.layout(tokens.image, [], [span], prefix)


def check_room(layout: Layout, config: PerceptionDLMConfig) -> None:
    """Raises ValueError if a plan has more positions than the decoder has learnt: what it writes there is noise."""
    found, most = int(layout.position_ids.max()) + 1, config.text_config.max_position_embeddings
    if found > most:
        raise ValueError(
            f"picture, text and answer have {found:,} tokens in a row, and the model reads at most {most:,}; "
            "ask for less: a shorter text, a smaller length, fewer questions before it"
        )
