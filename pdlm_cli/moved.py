"""Where the input of a finished run lies by now. Imports nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Moved:
    """Places of the input, of its pictures and of its mask pictures; None for where the run had them."""

    input: str | None = None
    images: str | None = None
    masks: str | None = None

    def applied_to(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a job, as run.json has them, with these places."""
        return {**job, **{name: place for name, place in asdict(self).items() if place is not None}}


UNMOVED = Moved()
