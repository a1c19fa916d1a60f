"""How many operations a denoising step calls, by passes on the device: a GPU that computes little waits for the calls.

    python -m tests.step_operations

Views counted, kernels that an operation is made of not; 32 layers of small width, three regions a pass.
"""

import torch

from model import caption_rows
from model.packed import attend_apart, attend_together
from model.pdlm import PerceptionDLM
from model.settings import DecodeSettings
from model.sizes import BYTE_VOCABULARY, SIZES, Size, random_model
from tests.model.support import one_pass, stream_on_the_way
from tests.model.test_waiting import Operations

DEEP = Size(128, 16, (48, 96, 3, 4), (64, 64, 32, 2), BYTE_VOCABULARY)
LANES = (1, 2, 4, 8, 16)


@torch.inference_mode()
def operations(model: PerceptionDLM, lanes: int) -> int:
    passes = [one_pass(model, 128, 128, 3, seed=seed) for seed in range(lanes)]
    on_the_way = stream_on_the_way(model, DecodeSettings(sampler="topk"), passes)
    with Operations() as found:
        on_the_way._step()
    return sum(found.seen.values())


def main() -> None:
    SIZES["deep"] = DEEP
    model = random_model("deep")
    print("| passes | each attends alone | all at once |\n|---|---|---|")
    for lanes in LANES:
        counts = []
        for caption_rows.ATTEND["cpu"] in (attend_apart, attend_together):
            counts.append(operations(model, lanes))
        print(f"| {lanes} | {counts[0]:,} | {counts[1]:,} |", flush=True)


if __name__ == "__main__":
    main()
