"""Pixel unshuffle and a two-layer MLP: from patches of the tower to tokens of the decoder."""

from torch import Tensor, nn
from transformers.activations import ACT2FN


class Connector(nn.Module):
    """(T, g * g, C) patches to (T, (g / r)^2, D) tokens, r the side of the square of patches that makes a token."""

    def __init__(self, patch_width: int, token_width: int, unshuffle: int, activation: str) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.projection = nn.Sequential(
            nn.Linear(patch_width * unshuffle**2, token_width),
            ACT2FN[activation],
            nn.Linear(token_width, token_width),
        )

    def forward(self, patches: Tensor) -> Tensor:
        return self.projection(unshuffle_pixels(patches, self.unshuffle))


def unshuffle_pixels(patches: Tensor, r: int) -> Tensor:
    """(T, g * g, C) to (T, (g / r)^2, r * r * C): each r x r square of patches side by side, row by row."""
    tiles, count, width = patches.shape
    side = round(count**0.5)
    squares = patches.view(tiles, side // r, r, side // r, r, width).transpose(2, 3)
    return squares.reshape(tiles, (side // r) ** 2, r * r * width)
