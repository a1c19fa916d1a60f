"""What docs/performance.md says of where time goes comes from a command that runs."""

from dataclasses import replace

import pytest

from pdlm_cli.bench.contenders import Contenders, Part
from tests import profiles
from tests.bench.support import session


def test_a_profile_of_each_step_has_all_time_in_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    own = session()
    settings = replace(own.settings, steps=8)
    monkeypatch.setattr(profiles, "SETTINGS", settings)
    contenders = Contenders(own.subject, settings, Part(steps=1))
    found = {
        name: profiles.profiled(contenders, contender, own.scene(3))
        for name, contender in profiles.steps_of(contenders).items()
    }
    assert list(found) == ["`released`", "logits at slots", "cached", "adaptive"]
    for rows in found.values():
        assert list(rows) == list(profiles.ROWS)
        assert all(rows[f"{part}: products"] > 0 for part in ("vision", "decoder", "vocabulary and rule"))
        assert rows["decoder: attention"] > 0
    assert not contenders.model.vision_model._forward_hooks
