"""What a GPU would run, with tensors that have a device and no storage, for machines without a GPU.

    python -m tests.model.other_device

torch's fake tensors keep shape, dtype and device, and refuse to mix devices where CUDA would. A CPU build of torch does
not know CUDA, so the device is the one that backends in Python may name; tables that tell CPU and CUDA apart have it as
CUDA. What comes from the device to the host, where a GPU would be waited for, is made up here: numbers are 1, of bools
all are looked up, and all captions are done at the first look.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from model import caption_rows, chat, head, rules, stream
from model.batch import Batch
from model.decode import caption_passes, plan_batch
from model.diffusion import add_noise, draw_hits
from model.layout import _Plan, plan_chat
from model.pdlm import PerceptionDLM
from model.preprocess import PreparedImage, PreparedPass
from model.quantize import STORAGES, quantize_decoder
from model.settings import SAMPLERS, ChatSettings, DecodeSettings
from model.sizes import random_model
from model.words import Both, caption_words
from pdlm_cli.bench.baselines import released_steps, write_left_to_right
from pdlm_cli.training.muon import MuonAdamW
from tests.model.support import ISOLATED, RELEASED, two_passes

DEVICE = "other"
SHORT: dict[str, int] = {"steps": 4, "length": 8}
make_tensor, to_list = torch.tensor, Tensor.tolist


class MadeUp(TorchDispatchMode):
    """What only the device would know."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket._qualified_op_name
        if args and isinstance(args[0], Tensor) and args[0].device.type == DEVICE:
            if name in ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero"):
                return True if args[0].dtype == torch.bool else 1
            if name == "aten::nonzero":
                every = torch.arange(args[0].numel(), device=args[0].device)
                return torch.stack(torch.unravel_index(every, args[0].shape), dim=1)
            if name == "aten::index" and args[1][0] is not None and args[1][0].dtype == torch.bool:
                [index] = args[1]
                return args[0].flatten(0, index.ndim - 1)
        if name in ("aten::to", "aten::_to_copy") and (kwargs or {}).get("device", torch.device("cpu")).type == DEVICE:
            return torch.empty(args[0].shape, dtype=(kwargs or {}).get("dtype") or args[0].dtype, device=f"{DEVICE}:0")
        return function(*args, **(kwargs or {}))


def tensor_there(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
    """`torch.tensor`, which goes past all that can be named in Python."""
    if device is None or torch.device(device).type != DEVICE:
        return make_tensor(data, device=device, **kwargs)
    with unset_fake_temporarily():
        here = make_tensor(data, **kwargs)
    return torch.empty(here.shape, dtype=here.dtype, device=device)


def list_of(tensor: Tensor) -> Any:
    if tensor.device.type != DEVICE:
        return to_list(tensor)
    with unset_fake_temporarily():
        return to_list(torch.full(tensor.shape, tensor.dtype != torch.bool, dtype=tensor.dtype))


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """With true tensors: what is planned before anything goes to a device looks at what it has written."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return run


def there(module: nn.Module) -> nn.Module:
    """The module with its weights on the device."""
    for child in module.modules():
        for table in (child._parameters, child._buffers):
            for name, value in table.items():
                if value is not None and value.device.type != DEVICE:
                    moved = torch.empty(value.shape, dtype=value.dtype, device=f"{DEVICE}:0")
                    table[name] = nn.Parameter(moved) if table is child._parameters else moved  # type: ignore[assignment]
    return module


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """Everything that a device does, by name. Models, pictures and batches are made here, on the host."""
    isolated, released = (random_model("tiny", regions=own, dtype=torch.bfloat16) for own in (ISOLATED, RELEASED))
    passes, published = two_passes(isolated), two_passes(released)
    samplings: dict[str, dict[str, Any]] = {sampler: {"sampler": sampler} for sampler in SAMPLERS}
    samplings["drawn at random"] = {"temperature": 1.0, "top_p": 0.9, "top_k": 5}
    samplings["tokens kept"] = {"cache": "delayed"}
    for name, settings in samplings.items():
        yield f"captions, {name}", functools.partial(caption, isolated, passes, settings)
    for storage in STORAGES:
        yield (
            f"captions, weights in {storage}",
            functools.partial(caption_stored, random_model("tiny", dtype=torch.float16), passes, storage),
        )
    for cache in ("none", "refresh=2", "frozen"):
        yield f"published captions, cache {cache}", functools.partial(caption, released, published, {"cache": cache})
    yield "published captions, guided", functools.partial(caption, released, published, {"cfg_scale": 1.0})
    for name, settings in (("plain", {}), ("cached", {"cache": "frozen"}), ("guided", {"cfg_scale": 1.0})):
        yield f"chat, {name}", functools.partial(answer, released, published[0].image, settings)

    batch = plan_batch(released, published[:1], DecodeSettings(**SHORT))
    yield "the published loop", functools.partial(published_loop, released, batch)
    yield "left to right", functools.partial(left_to_right, released)
    yield "training", functools.partial(learn, isolated, plan_batch(isolated, passes, DecodeSettings(**SHORT)))
    yield "what mixes devices", lambda: torch.ones(2, device=f"{DEVICE}:0") + torch.ones(2)


def caption(model: PerceptionDLM, passes: list[PreparedPass], settings: dict[str, Any]) -> None:
    caption_passes(there(model), passes, DecodeSettings(**SHORT, **settings), lanes=1)
    caption_passes(there(model), passes, DecodeSettings(**SHORT, **settings))


def caption_stored(model: PerceptionDLM, passes: list[PreparedPass], storage: str) -> None:
    quantize_decoder(there(model.language_model.model), storage, torch.device(f"{DEVICE}:0"))
    caption(model, passes, {})


@torch.inference_mode()
def answer(model: PerceptionDLM, image: PreparedImage, settings: dict[str, Any]) -> None:
    blank = [model.tokens.mask] * SHORT["length"]
    layout = plan_chat(model.tokens, model.config, tiles=len(image.tiles), question="What?", answer=blank)
    chosen = ChatSettings(**SHORT, block=4, **settings)
    chat._denoise(there(model), [image], [layout], chosen, ends=model.tokens.ends)


@torch.inference_mode()
def published_loop(model: PerceptionDLM, batch: Batch) -> None:
    there(model)
    moved = batch.to(model.device)
    canvas = torch.full_like(moved.slots.flatten(), model.tokens.mask)
    released_steps(model, moved, model.embed(moved), canvas, 4, 2)


def left_to_right(model: PerceptionDLM) -> None:
    there(model)
    prompt = torch.empty(1, 9, model.config.text_config.hidden_size, dtype=model.dtype, device=model.device)
    write_left_to_right(model.language_model, prompt, 3)


def learn(model: PerceptionDLM, batch: Batch) -> None:
    """A step on captions and their words, of random weights that are on the host when their batch is made."""
    probability = torch.full((len(batch.input_ids),), 0.5)
    hit = on_host(draw_hits)(batch.labelled, probability)
    noise = on_host(add_noise)(batch.input_ids, probability, hit, model.tokens.mask)
    words = on_host(caption_words)(batch, torch.zeros(model.config.text_config.vocab_size))
    there(model)
    model.loss(batch.to(model.device), Both(noise.to(model.device), words.to(model.device))).backward()
    matrices = [value for value in model.language_model.model.layers.parameters() if value.ndim == 2]
    others = list(model.vision_model.parameters())
    groups = [{"params": matrices, "matrices": True, "lr": 1e-3}, {"params": others, "matrices": False, "lr": 1e-3}]
    MuonAdamW(groups, betas=(0.9, 0.98), eps=1e-8).step()


def main() -> None:
    found = list(cases())
    _setup_privateuseone_for_python_backend(DEVICE)
    for table in (caption_rows.ATTEND, head.ROWS, rules.POLL):
        table[DEVICE] = table["cuda"]  # type: ignore[index]
    torch.tensor, FakeTensor.tolist = tensor_there, list_of  # type: ignore[assignment]
    _Plan.layout = on_host(_Plan.layout)  # type: ignore[method-assign]
    stream._places, chat.check_room = on_host(stream._places), on_host(chat.check_room)
    nn.Module.to = lambda self, device: there(self)  # type: ignore[assignment]
    with FakeTensorMode(allow_non_fake_inputs=True), MadeUp():
        for name, run in found:
            try:
                run()
            except Exception as error:  # the next case is another
                said = str(error).partition("\n")[0]
                print(f"{name}: {type(error).__name__}: {said}", flush=True)
            else:
                print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    main()
