"""Samples that could not be used: counted, reported, and a reason to stop when they are too many."""

from collections.abc import Sequence

from pdlm_cli.errors import InputError
from pdlm_cli.logs import log

SHOWN = 10  # in the log; the rest is only counted
FIRST_LOOK = 100  # samples before the share means anything


class BadSamples:
    """What one process has met. seen, bad: samples so far; a sample of which only some regions fail counts as bad."""

    def __init__(self, max_share: float, seen: int = 0, bad: int = 0) -> None:
        self.max_share, self.seen, self.bad = max_share, seen, bad

    def note(self, samples: int, problems: Sequence[str]) -> None:
        """Raises InputError once the share is too high."""
        self.seen += samples
        for problem in problems:
            self.bad += 1
            if self.bad <= SHOWN:
                log.warning("skipped: %s", problem, extra={"facts": {"event": "bad_sample"}})
            if self.bad == SHOWN:
                log.warning("further bad samples are only counted")
        if self.seen >= FIRST_LOOK and self.bad > self.max_share * self.seen:
            raise InputError(
                f"{self.bad} bad samples among {self.seen}: more than data.max_bad_share {self.max_share:.2%}; mend "
                "the data, or allow more"
            )
