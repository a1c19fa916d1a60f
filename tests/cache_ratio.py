"""What the exact cache saves: `python -m tests.cache_ratio`, side by side in one process.

One picture of seven tiles, six regions, random weights of about 100 million parameters: decoding with `--cache none`,
which recomputes the whole sequence in every step, and with `--cache exact`. Both must write the same tokens. Prints a
table, then one JSON line. The vocabulary's share of a step is the same in both: `--vocabulary 126464` is LLaDA's.
"""

import argparse
import json

import numpy as np
import torch
from PIL import Image

from model.decode import DecodeSettings, PassCaptions, caption_passes
from model.preprocess import prepare_image, prepare_pass
from model.sizes import SIZES, random_model

WIDTH, HEIGHT = 1536, 1024  # 3 x 2 tiles of 512 pixels and a thumbnail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="100m")
    parser.add_argument("--regions", type=int, default=6)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=4096)
    arguments = parser.parse_args()

    model = random_model(arguments.size, vocabulary=arguments.vocabulary)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    masks = np.zeros((arguments.regions, HEIGHT, WIDTH), dtype=bool)
    for i, mask in enumerate(masks):
        mask[100 + 40 * i : 500 + 20 * i, 50 + 200 * i : 250 + 210 * i] = True
    prepared = prepare_pass(prepare_image(picture, model.config), masks, model.config)

    def decode(cache: str, steps: int) -> PassCaptions:
        settings = DecodeSettings(steps=steps, length=arguments.length, sampler="remask", cache=cache)
        return caption_passes(model, [prepared], settings)[0]

    for cache in ("exact", "none"):
        decode(cache, 1)  # warm-up
    exact, full = decode("exact", arguments.steps), decode("none", arguments.steps)
    same = [c.tokens for c in exact.captions] == [c.tokens for c in full.captions]
    ratio = full.decode_ms / exact.decode_ms
    print(f"{'cache':8}{'decode s':>10}{'s a step':>10}")
    for name, output in (("none", full), ("exact", exact)):
        seconds = output.decode_ms / 1e3
        print(f"{name:8}{seconds:>10.2f}{seconds / arguments.steps:>10.3f}")
    print(
        f"ratio {ratio:.1f}x, the same tokens: {'yes' if same else 'NO'}; vision {exact.encode_ms / 1e3:.1f} s in both"
    )
    facts = {
        "ratio": round(ratio, 2),
        "none_ms": round(full.decode_ms),
        "exact_ms": round(exact.decode_ms),
        "encode_ms": round(exact.encode_ms),
        "same_tokens": same,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tiles": len(prepared.image.tiles),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **vars(arguments),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
