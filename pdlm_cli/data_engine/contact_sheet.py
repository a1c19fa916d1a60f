"""Scenes side by side: regions with their captions, and the questions."""

from collections.abc import Sequence

from PIL import Image

from pdlm_cli.annotated import annotate, sheet
from pdlm_cli.data_engine.scene import Scene


def contact_sheet(scenes: Sequence[Scene]) -> Image.Image:
    """RGB, two scenes a row."""
    return sheet([_page(scene) for scene in scenes])


def _page(scene: Scene) -> Image.Image:
    notes: list[tuple[int | None, str]] = [(i, caption) for i, caption in enumerate(scene.captions)]
    notes += [(None, f"{question.text}  {question.answer}") for question in scene.questions]
    return annotate(scene.picture, list(scene.masks), notes)
