"""Models with random weights, of sizes from a test's to the released one's: for tests, benchmarks and first steps.

Sizes are named after the decoder and vision tower; LLaDA's vocabulary adds 0.2 (100m) to 1 billion (8b) parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast, SiglipVisionConfig

from model.config import PerceptionDLMConfig, RegionConfig
from model.pdlm import PerceptionDLM
from model.tokens import IMAGE_TOKENS, REGION_TOKENS, TEXT_TOKENS, Tokens

LLADA_VOCABULARY = 126464
BYTE_VOCABULARY = 256 + len(TEXT_TOKENS) + len(IMAGE_TOKENS) + len(REGION_TOKENS)  # rows of `byte_tokenizer`


@dataclass(frozen=True)
class Size:
    """Widths and depths of the two towers; tile and patch in pixels; rows of the vocabulary."""

    tile: int
    patch: int
    vision: tuple[int, int, int, int]  # width, MLP width, blocks, heads
    text: tuple[int, int, int, int]
    vocabulary: int


SIZES = {
    "tiny": Size(128, 16, (48, 96, 3, 4), (64, 192, 2, 4), BYTE_VOCABULARY),
    "100m": Size(512, 16, (512, 2048, 9, 8), (768, 2304, 9, 12), LLADA_VOCABULARY),
    "1b": Size(512, 16, (1152, 4304, 27, 16), (2048, 6144, 16, 16), LLADA_VOCABULARY),
    "8b": Size(512, 16, (1152, 4304, 27, 16), (4096, 12288, 32, 32), LLADA_VOCABULARY),
}


def random_model(
    size: str,
    *,
    seed: int = 0,
    regions: RegionConfig | None = None,
    vocabulary: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> PerceptionDLM:
    """A region model with random weights and a tokenizer of bytes, in evaluation mode.

    vocabulary: rows of the embedding, those of the size if None. regions: isolated semantics with six regions of
    4 x 4 RoI tokens if None. Raises ValueError on an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, found {size!r}")
    regions = regions or RegionConfig.isolated(max_regions=6, roi_size=4)
    config = size_config(SIZES[size], regions)
    config.text_config.vocab_size = vocabulary or SIZES[size].vocabulary
    usual = torch.get_default_dtype()
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            model = PerceptionDLM(config)
        finally:
            torch.set_default_dtype(usual)
    model.tokens = Tokens.resolve(byte_tokenizer([*TEXT_TOKENS, *IMAGE_TOKENS, *REGION_TOKENS]), regions.max_regions)
    return model.eval()


def size_config(size: Size, regions: RegionConfig | None) -> PerceptionDLMConfig:
    width, mlp, blocks, heads = size.vision
    vision = SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        image_size=size.tile,
        patch_size=size.patch,
    )
    width, mlp, blocks, heads = size.text
    text = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        max_position_embeddings=16384,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=None,
        eos_token_id=None,
    )
    return PerceptionDLMConfig(
        vision_config=vision,
        vision_select_layer=-2,
        unshuffle=2,
        connector_act="gelu",
        text_config=text,
        min_tiles=1,
        max_tiles=6,
        regions=regions,
        random_weights=True,
    )


def byte_tokenizer(special: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a byte, and the special tokens after them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
