"""Samples that could not be used: counted, reported, and a reason to stop when they are too many."""

from collections.abc import Sequence

from pdlm_cli.errors import InputError
from pdlm_cli.logs import log

SHOWN = 10  # in the log; the rest is only counted
FIRST_LOOK = 100  # samples before the share means anything


class BadSamples:
    """seen, bad: samples of all processes, up to the last step; one of which only some regions fail counts as bad.
    noted: what was wrong with those that this process has met since."""

    def __init__(self, max_share: float, seen: int = 0, bad: int = 0) -> None:
        self.max_share, self.seen, self.bad = max_share, seen, bad
        self.noted: list[str] = []

    def note(self, problems: Sequence[str]) -> None:
        self.noted += problems

    @property
    def to_show(self) -> int:
        """How many more are told of in the log."""
        return max(0, SHOWN - self.bad)

    def count(self, samples: int, bad: int, problems: Sequence[str]) -> None:
        """Add what all processes have met in a step. problems: of `bad`; of as many as are to be shown at least. Raises
        InputError once the share is too high."""
        for problem in problems[: self.to_show]:
            log.warning("skipped: %s", problem, extra={"facts": {"event": "bad_sample"}})
        if 0 < self.to_show <= bad:
            log.warning("further bad samples are only counted")
        self.seen, self.bad, self.noted = self.seen + samples, self.bad + bad, []
        if self.seen >= FIRST_LOOK and self.bad > self.max_share * self.seen:
            raise InputError(
                f"{self.bad} bad samples among {self.seen}: more than data.max_bad_share {self.max_share:.2%}; mend "
                "the data, or allow more"
            )
