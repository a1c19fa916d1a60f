"""What a conversion came to: how much was written, what failed, and what the format had no place for."""

import json
from collections import Counter
from dataclasses import dataclass, field

from pdlm_cli.errors import ErrorCode, RegionError
from pdlm_cli.logs import log
from pdlm_cli.regions import ImageEntry, Region

SHOWN_ERRORS = 10


@dataclass
class Converted:
    """images, regions: of the input. errors: regions without a usable mask or no place for it, and pictures that could
    not be taken along, by code. not_held: what the input says and the output does not, by kind."""

    images: int = 0
    regions: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    not_held: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        return 3 if self.errors else 0

    def to_json(self) -> str:
        return json.dumps(
            {
                "images": self.images,
                "regions": self.regions,
                "errors": dict(self.errors),
                "not_held": dict(self.not_held),
            }
        )

    def failed(self, entry: ImageEntry, region: Region | None, error: RegionError) -> None:
        """Tell of a region, or of the picture of an image."""
        self.told(entry, region, error.code, str(error))

    def told(self, entry: ImageEntry, region: Region | None, code: ErrorCode | str, message: str) -> None:
        self.errors[code] += 1
        if self.errors.total() <= SHOWN_ERRORS:
            of = "" if region is None else f"region {region.region_id} of "
            log.warning("%simage %s: %s: %s", of, entry.image_id, code, message)

    def warn(self, title: str) -> None:
        """Say once what was not held. title: of the format."""
        if self.not_held:
            counts = ", ".join(f"{count} {what}" for what, count in sorted(self.not_held.items()))
            log.warning("%s cannot hold all that the input says; left behind: %s", title, counts)
