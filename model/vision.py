"""The SigLIP tower with region prompts fused into its patch embeddings."""

from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import (
    SiglipEncoder,
    SiglipPreTrainedModel,
    SiglipVisionEmbeddings,
)


class RegionVisionTower(SiglipPreTrainedModel):
    """SigLIP up to the hidden state that feeds the connector; blocks after it, final norm and head are not built.

    select_layer: counted as transformers counts hidden states, -1 for the last block's output.
    """

    config_class = SiglipVisionConfig

    def __init__(self, config: SiglipVisionConfig, select_layer: int) -> None:
        super().__init__(config)
        encoder = SiglipEncoder(config)
        encoder.layers = encoder.layers[: config.num_hidden_layers + select_layer + 1]
        # Held under the name that released checkpoints give it.
        self.vision_model = nn.ModuleDict({"embeddings": SiglipVisionEmbeddings(config), "encoder": encoder})
        self.post_init()

    def forward(self, pixels: Tensor, prompts: Tensor | None = None) -> Tensor:
        """pixels: (T, 3, S, S) in [-1, 1]. prompts: (T, g * g, C) added to the patch embeddings. To (T, g * g, C)."""
        patches = self.vision_model["embeddings"](pixels)
        if prompts is not None:
            patches = patches + prompts
        return self.vision_model["encoder"](inputs_embeds=patches).last_hidden_state
