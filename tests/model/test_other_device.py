"""What a GPU would run does not mix its tensors with those of the host."""

import subprocess
import sys

REFUSED = "what mixes devices: FakeTensorDeviceMismatchError"


def test_nothing_mixes_devices() -> None:
    """In a process of its own: the device and what stands in for torch's functions stay for good."""
    command = [sys.executable, "-m", "tests.model.other_device"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    *others, mixing = lines
    assert mixing.startswith(REFUSED)  # or the device would take anything
    assert len(others) >= 19
    assert [line for line in others if not line.endswith(": ok")] == []
