"""How much memory a pass takes while it is decoded, from the config alone."""

from model.config import PerceptionDLMConfig
from model.settings import PREFIX_KEPT, DecodeSettings, refresh_every

PROMPT = 128  # tokens of text around image and regions, generously
KEPT_FREE = 0.2  # share of the free memory that is left to fragmentation and to what is not counted here
MOST_PASSES = 16  # in one batch, however much memory there is: where the next ones save little


def pass_bytes(config: PerceptionDLMConfig, settings: DecodeSettings, element: int) -> int:
    """Most bytes that one more pass adds to a batch: a pass of as many tiles and regions as the checkpoint takes.

    element: bytes of a number in the weights' dtype. With T tiles (thumbnail counted) of S x S pixels, P patches and
    N tokens; R regions of E RoI tokens and G caption slots; D, M widths of the decoder and its MLP, V its vocabulary;
    C, H widths of the vision tower and its MLP:

        answer A  = R (1 + G)                   length L = PROMPT + T N + R E + A
        kept      = T (3 S S + 4 P R) + element (L D + keys and values of L places in all layers, if cached)
        vision    = T (8 * 3 S S + element (8 P C + 2 P H))     pixels as floats; one block at a time
        decoder   = element L (8 D + 3 M) + L L (1 + element)   one block over all rows; its mask
        logits    = R G V (element + 16)                        in fp32 beside copies of them
        pass      = kept + the largest of vision, decoder and logits; what is kept of the sequence twice under guidance
    """
    vision, text, regions = config.vision_config, config.text_config, config.regions
    assert regions is not None
    tiles = config.max_tiles + (config.max_tiles > 1)
    pixels, patches = 3 * config.tile_size**2, config.patch_grid**2
    answer = regions.max_regions * (1 + settings.length)
    length = PROMPT + tiles * config.tokens_per_tile + regions.max_regions * config.roi_tokens + answer

    cached = settings.cache == "frozen" or refresh_every(settings.cache) > 0
    cached = cached or (settings.cache in PREFIX_KEPT and regions.attention == "isolated")
    places = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim if cached else 0
    sequence = element * length * (text.hidden_size + places)
    kept = tiles * (pixels + 4 * patches * regions.max_regions) + sequence * (2 if settings.cfg_scale > 0 else 1)
    widths = 8 * vision.hidden_size + 2 * vision.intermediate_size
    phases = (
        tiles * (8 * pixels + element * patches * widths),
        element * length * (8 * text.hidden_size + 3 * text.intermediate_size) + length**2 * (1 + element),
        regions.max_regions * settings.length * text.vocab_size * (element + 16),
    )
    return kept + max(phases)


def passes_that_fit(free: int, config: PerceptionDLMConfig, settings: DecodeSettings, element: int) -> int:
    """Passes of a batch for which `free` bytes are enough, with a margin: 1 to MOST_PASSES."""
    room = int(free * (1 - KEPT_FREE)) // pass_bytes(config, settings, element)
    return max(1, min(MOST_PASSES, room))
