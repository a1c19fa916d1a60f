"""How a checkpoint names, locates and keeps apart the regions of a pass.

Plain Python, without torch: what only prepares pictures reads it too.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

# The two semantics, field by field. "released" reproduces the published weights, quirks included; the second value
# is what this project trains with; "none", "full" and "shared" leave a part of the model out, to see what that part is
# good for. "masked" is of this project alone.
CHOICES = {
    "attention": ("released", "isolated", "full"),
    "positions": ("released", "isolated"),
    "roi_features": ("released", "aligned", "none", "masked"),
    "footprint": ("released", "coverage", "none"),
    "binding": ("released", "isolated", "shared"),
    "budget": ("released", "isolated"),
}


@dataclass(frozen=True)
class RegionConfig:
    """How regions are named, located and kept apart.

    max_regions: rows of the region-prompt embedding, hence regions a pass.
    roi_size: RoI features are roi_size x roi_size tokens a region.
    attention: who sees captions. released: context and RoI rows attend to everything; isolated: context sees
        context, RoI i sees context and itself, caption i sees context, RoI i and itself; full: everything sees
        everything, captions each other too. Running positions are then all that tells one caption's slots from
        another's.
    positions: released: one running sequence; isolated: the whole prompt first, then every region's RoI and caption
        from the same position on.
    roi_features: released: box scaled twice, first tile dropped; aligned: the box's own features; masked: those of
        the image tokens in the box that the region's footprint touches, and nothing of what else lies in it; none: no
        RoI tokens at all, so that a caption finds its region by marker and prompt alone.
    footprint: patches that receive a region prompt. released: top-left pixel of each patch of the bicubically
        resized mask; coverage: share of the patch that the mask covers, at least one patch a region; none: no patch
        does, so that a caption finds its region by its RoI tokens alone.
    binding: which caption marker goes with which region prompt in training. released: markers by area, prompts at
        random; isolated: marker and prompt always share their number; shared: all regions have the first prompt, in
        captioning too, and markers of their own.
    budget: how steps are spent. released: the schedule counts all caption slots of a pass together and any token may
        be written; isolated: it counts each caption's, and special tokens are banned but for those that end it.
    """

    max_regions: int
    roi_size: int
    attention: str
    positions: str
    roi_features: str
    footprint: str
    binding: str
    budget: str

    def __post_init__(self) -> None:
        if self.max_regions < 1 or self.roi_size < 1:
            raise ValueError(
                f"max_regions and roi_size must be at least 1, found {self.max_regions} and {self.roi_size}"
            )
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"regions.{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if self.roi_features == "masked" and self.footprint == "none":
            raise ValueError(
                "regions.roi_features masked needs a footprint: with regions.footprint none it sees nothing"
            )
        if self.attention == "full" and self.positions == "isolated":
            raise ValueError(
                "regions.attention full needs regions.positions released: where all captions start at one position and "
                "see the same, nothing tells them apart"
            )

    @classmethod
    def released(cls, max_regions: int, roi_size: int) -> "RegionConfig":
        return cls(max_regions, roi_size, **{name: values[0] for name, values in CHOICES.items()})

    @classmethod
    def isolated(cls, max_regions: int, roi_size: int) -> "RegionConfig":
        return cls(max_regions, roi_size, **{name: values[1] for name, values in CHOICES.items()})

    def with_(self, **changes: Any) -> "RegionConfig":
        """The same config with some fields changed, checked again."""
        return replace(self, **changes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RegionConfig":
        expected = {field.name for field in fields(cls)}
        if values.keys() != expected:
            missing, unknown = sorted(expected - values.keys()), sorted(values.keys() - expected)
            raise ValueError(f"regions in config.json: missing {missing or 'none'}, unknown {unknown or 'none'}")
        return cls(**values)
