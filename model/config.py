"""What a checkpoint must state about itself.

Nothing here has a default that a checkpoint has to match: a config.json that leaves a value out is refused
rather than completed.
"""

from dataclasses import asdict
from typing import Any, ClassVar

from transformers import LlamaConfig, PreTrainedConfig, SiglipVisionConfig

from model.preprocess import Geometry
from model.regions import RegionConfig


class PerceptionDLMConfig(PreTrainedConfig):
    """Vision tower, connector, decoder and regions of a PerceptionDLM, or of its image-level base.

    vision_config: a SiglipVisionConfig; its image_size is the side of a tile in pixels, square.
    vision_select_layer: which hidden state feeds the connector, counted as transformers counts hidden states
        (-1 is the last block's output, -2 the one before it).
    unshuffle: patches of an unshuffle x unshuffle square become one token.
    connector_act: activation between the connector's two layers.
    text_config: a LlamaConfig, run bidirectionally.
    min_tiles, max_tiles: how many tiles a picture may be cut into, the thumbnail not counted.
    regions: None for an image-level checkpoint.
    random_weights: set by what makes a model without training it, so that users can be told.
    """

    model_type = "perception_dlm"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": SiglipVisionConfig, "text_config": LlamaConfig}
    has_no_defaults_at_init = True

    def __init__(
        self,
        *,
        vision_config: SiglipVisionConfig | dict[str, Any],
        vision_select_layer: int,
        unshuffle: int,
        connector_act: str,
        text_config: LlamaConfig | dict[str, Any],
        min_tiles: int,
        max_tiles: int,
        regions: RegionConfig | dict[str, Any] | None,
        random_weights: bool = False,
        **kwargs: Any,
    ) -> None:
        self.vision_config = SiglipVisionConfig(**vision_config) if isinstance(vision_config, dict) else vision_config
        self.vision_select_layer = vision_select_layer
        self.unshuffle = unshuffle
        self.connector_act = connector_act
        self.text_config = LlamaConfig(**text_config) if isinstance(text_config, dict) else text_config
        self.text_config.is_causal = False
        self.min_tiles = min_tiles
        self.max_tiles = max_tiles
        self.regions = RegionConfig.from_dict(regions) if isinstance(regions, dict) else regions
        self.random_weights = random_weights
        kwargs.pop("tie_word_embeddings", None)  # stated once, in text_config
        super().__init__(**kwargs)
        self._validate()

    def _validate(self) -> None:
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ValueError(
                f"expected 1 <= min_tiles <= max_tiles, found min_tiles {self.min_tiles} and max_tiles {self.max_tiles}"
            )
        side, patch = self.tile_size, self.patch_size
        if side % (patch * self.unshuffle):
            raise ValueError(
                f"a tile of {side} px must hold a whole number of {self.unshuffle} x {self.unshuffle} squares "
                f"of {patch} px patches"
            )
        if not -self.vision_config.num_hidden_layers <= self.vision_select_layer <= -1:
            raise ValueError(
                f"vision_select_layer counts from the end, from -{self.vision_config.num_hidden_layers} to -1, "
                f"found {self.vision_select_layer}"
            )

    @property
    def geometry(self) -> Geometry:
        """What preparing pictures and masks needs of it."""
        return Geometry(self.tile_size, self.patch_size, self.min_tiles, self.max_tiles, self.regions)

    @property
    def tile_size(self) -> int:
        """Side of a tile, in pixels."""
        return int(self.vision_config.image_size)

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        return int(self.vision_config.patch_size)

    @property
    def patch_grid(self) -> int:
        """Patches along a side of a tile."""
        return self.tile_size // self.patch_size

    @property
    def token_grid(self) -> int:
        """Image tokens along a side of a tile, after the connector."""
        return self.patch_grid // self.unshuffle

    @property
    def tokens_per_tile(self) -> int:
        return self.token_grid**2

    @property
    def roi_tokens(self) -> int:
        """RoI tokens of one region; 0 without RoI features."""
        assert self.regions is not None
        return self.regions.roi_size**2 if self.regions.roi_features != "none" else 0

    def to_dict(self) -> dict[str, Any]:
        output: dict[str, Any] = super().to_dict()
        output["regions"] = asdict(self.regions) if self.regions is not None else None
        return output
