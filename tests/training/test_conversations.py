"""Conversations: turns before the one that is learnt, several pictures, and the prompt that a model is asked with."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from model.batch import collate_images
from model.chat import answer_question
from model.layout import plan_chat
from model.preprocess import prepare_image
from model.settings import ChatSettings
from model.sizes import random_model
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.conversations import question_parts
from pdlm_cli.training.evaluation import HeldOut
from pdlm_cli.training.job import ModelStart, RandomModel
from pdlm_cli.training.samples import Samples
from pdlm_cli.training.start import start_model
from tests.training.support import job, squares

WIDTHS = {"vision": (32, 64, 3, 2), "text": (48, 96, 2, 2), "tile": 64, "patch": 8}
MODEL = start_model(ModelStart(random=RandomModel(**WIDTHS)), seed=0, texts=()).eval()
SIZES = {"square.png": (64, 64), "wide.png": (128, 64)}  # 1 tile; 2 and the thumbnail


def talk(*texts: str) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * len(texts), texts, strict=False)
    ]


def write(folder: Path, *records: dict) -> Path:
    for number, (name, size) in enumerate(SIZES.items()):
        Image.new("RGB", size, (90 * number + 40, 10, 200)).save(folder / name)
    file = folder / "chat.json"
    file.write_text(json.dumps(records))
    return file


def settings_of(file: Path, **data):
    source = {"path": str(file), "kind": "chat"}
    data = {"sources": [source], "answer_length": 12, "workers": 0} | data
    return job(file, file.parent / "out", data=data, report={"to": [], "samples": 1, "steps": 4})


def read(file: Path, count: int, **data):
    settings = settings_of(file, **data)
    samples = Samples(settings.data.sources, settings.data, MODEL.config, MODEL.tokens, seed=0)
    assert samples.stream.length(1) == count
    return sorted((samples[place] for place in range(count)), key=lambda sample: len(sample.layout.input_ids))


def prompt(sample) -> str:
    """With one mark for all tokens of a picture."""
    text = MODEL.tokens.tokenizer.decode(sample.layout.input_ids[: sample.layout.prefix].tolist())
    for image in sorted(sample.images, key=lambda image: len(image.tiles), reverse=True):
        text = text.replace("<IMG_CONTEXT>" * (len(image.tiles) * MODEL.config.tokens_per_tile), f"{len(image.tiles)}")
    return text


def equal_layouts(one, other) -> bool:
    names = ("input_ids", "position_ids", "kind", "region", "image", "slots", "labelled")
    return one.prefix == other.prefix and all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("question", ["What?", "<image>\nWhat?", "What?\n<image>", "<image>What?"])
def test_one_question_about_one_picture_is_laid_out_as_a_model_is_asked(tmp_path, question):
    [sample] = read(write(tmp_path, {"image": "wide.png", "conversations": talk(question, "blue")}), 1)
    answer = MODEL.tokens.encode_caption("blue", 12)
    asked = plan_chat(MODEL.tokens, MODEL.config, tiles=3, question="What?", answer=answer)
    assert equal_layouts(sample.layout, asked)
    assert sample.texts == ("What?", "blue")
    assert MODEL.tokens.question(7, "What?") == MODEL.tokens.ask([7, "\nWhat?"])


def test_turns_before_the_one_that_is_learnt_are_context(tmp_path):
    turns = talk("<image>\nWhat?", "a square", "Which color?", "blue", "Sure?", "yes")
    first, second, third = read(write(tmp_path, {"image": "square.png", "conversations": turns}), 3)
    user, assistant = (f"<|start_header_id|>{role}<|end_header_id|>\n" for role in ("user", "assistant"))
    end = "<|eot_id|>"
    opening = f"{user}<img>1</img>\nWhat?{end}{assistant}"
    assert prompt(first) == opening
    assert prompt(second) == f"{opening}a square{end}{user}Which color?{end}{assistant}"
    assert prompt(third) == f"{prompt(second)}blue{end}{user}Sure?{end}{assistant}"
    for sample, answer in ((first, "a square"), (second, "blue"), (third, "yes")):
        learnt = sample.layout.input_ids[sample.layout.labelled]
        assert learnt.tolist() == MODEL.tokens.encode_caption(answer, 12)
        assert sample.layout.labelled.nonzero().min() == sample.layout.prefix
        assert torch.equal(sample.layout.position_ids, torch.arange(len(sample.layout.input_ids)))


def test_pictures_stand_where_their_marks_are(tmp_path):
    both = ["wide.png", "square.png"]
    turns = talk("From <image> to <image>?", "red", "Sure?", "yes")
    marked, _ = read(write(tmp_path, {"images": both, "conversations": turns}), 2)
    assert "\nFrom <img>3</img> to <img>1</img>?<|eot_id|>" in prompt(marked)
    plain, _ = read(write(tmp_path, {"image": both, "conversations": talk("Same?", "no", "Sure?", "yes")}), 2)
    assert "\n<img>3</img>\n<img>1</img>\nSame?<|eot_id|>" in prompt(plain)
    assert [len(image.tiles) for image in plain.images] == [3, 1]


def test_pictures_that_come_later_are_not_seen_before(tmp_path):
    turns = talk("Hello!", "Hello.", "<image>\nWhat?", "blue", "And <image>?", "red")
    parts = [{"type": "text", "text": "And "}, {"type": "image"}]
    first, second = read(write(tmp_path, {"images": list(SIZES), "conversations": turns}), 2)  # none without a picture
    assert [len(first.images), len(second.images)] == [1, 2]
    assert "Hello!<|eot_id|>" in prompt(first)
    turns[4]["content"] = parts
    _, same = read(write(tmp_path, {"images": list(SIZES), "conversations": turns}), 2)
    assert "And <img>3</img>" in prompt(same)


def test_pictures_and_marks_must_be_as_many():
    with pytest.raises(RegionError, match="as many pictures as marks <image>, found 2 and 1"):
        question_parts(["<image> what?"], [1, 1])


def test_records_with_a_picture_too_many_are_bad(tmp_path):
    file = write(tmp_path, {"images": list(SIZES), "conversations": talk("<image>?", "x")})
    with pytest.raises(InputError, match="bad_image"):
        read(file, 1)


def test_samples_of_several_pictures_in_a_batch_equal_them_alone(tmp_path):
    records = [
        {"images": ["wide.png", "square.png"], "conversations": talk("<image> or <image>?", "red")},
        {"image": "square.png", "conversations": talk("What?", "a square", "Which color?", "blue")},
        {"image": None, "conversations": talk("Two and two?", "four")},
    ]
    samples = read(write(tmp_path, *records), 4)
    collate = Collator.of(settings_of(tmp_path / "chat.json"), MODEL.config, MODEL.tokens)
    together = collate(samples)
    alone = [collate([sample]) for sample in samples]
    losses = torch.stack([MODEL(inputs.batch, inputs.aim) for inputs in alone])
    torch.testing.assert_close(MODEL(together.batch, together.aim), losses.mean())
    batch = collate_images(samples[-1].images, [samples[-1].layout], MODEL.config)
    tiles = [len(image.tiles) for image in samples[-1].images]
    assert batch.tile_counts == tuple(tiles)
    assert int(batch.image.sum()) == sum(tiles) * MODEL.config.tokens_per_tile


def test_parquet_with_the_pictures_inside_is_read_as_json_is(tmp_path):
    records = [
        {"image": list(SIZES), "conversations": talk("<image> or <image>?", "red", "Sure?", "yes")},
        {"image": ["square.png"], "conversations": talk("What?", "a square")},
        {"image": None, "conversations": talk("Two and two?", "four")},
    ]
    expected = read(write(tmp_path, *records), 4)
    inside = [
        {
            "images": [{"bytes": (tmp_path / name).read_bytes(), "path": name} for name in record["image"] or ()],
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[turn["role"]], "value": turn["content"]}
                for turn in record["conversations"]
            ],
        }
        for record in records
    ]
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.Table.from_pylist(inside), tmp_path / "parts/0.parquet", row_group_size=2)
    for sample, other in zip(expected, read(tmp_path / "parts", 4), strict=True):
        assert equal_layouts(sample.layout, other.layout) and sample.texts == other.texts
        assert [image.tiles.tobytes() for image in sample.images] == [image.tiles.tobytes() for image in other.images]


def test_text_alone_is_learnt_too(tmp_path):
    file = write(tmp_path, {"conversations": talk("Two and two?", "four", "And three?", "seven")})
    first, second = read(file, 2)
    assert "<img>" not in prompt(second) and "Two and two?<|eot_id|>" in prompt(first)
    for model in (MODEL, random_model("tiny", seed=0)):
        model.zero_grad()
        inputs = Collator.of(settings_of(file), model.config, model.tokens)([first, second])
        assert inputs.batch.tile_counts == () and not inputs.batch.image.any()
        model(inputs.batch, inputs.aim).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())  # which DDP needs
    settings = settings_of(file, held_out=[{"path": str(file), "kind": "chat"}])
    HeldOut(settings, MODEL.config, MODEL.tokens).write_captions(MODEL, tmp_path / "shown", 1)
    assert (tmp_path / "shown/step-000001/000.png").exists()


def test_a_mark_without_a_picture_is_bad(tmp_path):
    with pytest.raises(InputError, match="as many pictures as marks <image>, found 0 and 1"):
        read(write(tmp_path, {"conversations": talk("<image>\nWhat?", "x")}), 1)


def test_held_out_questions_have_all_slots_however_answers_are_padded_in_training(tmp_path):
    file = write(tmp_path, {"image": "square.png", "conversations": talk("What?", "x")})
    held_out = [{"path": str(file), "kind": "chat"}]
    written, losses = [], []
    for padding in ("full", "random"):
        own = HeldOut(settings_of(file, held_out=held_out, answer_padding=padding), MODEL.config, MODEL.tokens)
        own.write_captions(MODEL, tmp_path / padding, 1)
        written.append((tmp_path / padding / "step-000001/captions.jsonl").read_text())
        losses.append(own.losses(MODEL, torch.device("cpu")))
    assert written[0] == written[1] and losses[0] == losses[1]


def test_held_out_conversations_are_answered_in_their_context(tmp_path):
    file = write(tmp_path, {"image": "square.png", "conversations": talk("What?", "x", "Which?", "y")})
    settings = settings_of(file, held_out=[{"path": str(file), "kind": "chat"}])
    held_out = HeldOut(settings, MODEL.config, MODEL.tokens)
    assert 0 <= held_out.write_captions(MODEL, tmp_path / "shown", 1)["eval_exact"] <= 1
    [line] = (tmp_path / "shown/step-000001/captions.jsonl").read_text().splitlines()
    single = write(tmp_path, {"image": "square.png", "conversations": talk("What?", "x")})
    held_out = HeldOut(
        settings_of(single, held_out=[{"path": str(single), "kind": "chat"}]), MODEL.config, MODEL.tokens
    )
    held_out.write_captions(MODEL, tmp_path / "shown", 2)
    [line] = (tmp_path / "shown/step-000002/captions.jsonl").read_text().splitlines()
    image = prepare_image(Image.open(tmp_path / "square.png"), MODEL.config)
    answer = answer_question(MODEL, image, "What?", ChatSettings(length=12, block=12, steps=4))
    assert json.loads(line)["found"] == [answer.text]


def chat_file(folder: Path) -> Path:
    squares(folder, 3)
    turns = [
        [{"from": "human", "value": "<image>\nWhat is there?"}, {"from": "gpt", "value": "squares"}],
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "Which?"},
            {"role": "assistant", "content": "red"},
        ],
    ]
    file = folder / "chat.json"
    file.write_text(json.dumps([{"image": f"{i}.png", "conversations": turn} for i, turn in enumerate(turns)]))
    return file


def test_chat_gives_a_question_with_its_answer(tmp_path):
    settings = settings_of(chat_file(tmp_path))
    samples = Samples(settings.data.sources, settings.data, MODEL.config, MODEL.tokens, seed=0)
    assert samples.stream.length(1) == 3
    found = [samples[place] for place in range(3)]
    assert {sample.texts for sample in found} == {
        ("What is there?", "squares"),
        ("How many?", "two"),
        ("Which?", "red"),
    }
    inputs = Collator.of(settings, MODEL.config, MODEL.tokens)(found)
    assert int(inputs.batch.labelled.sum()) == 36
    assert MODEL(inputs.batch, inputs.aim).isfinite()


def test_answers_are_padded_to_random_lengths_even_in_their_logarithms(tmp_path):
    records = [{"image": "square.png", "conversations": talk("What?", "blue")} for _ in range(300)]
    padded = read(write(tmp_path, *records), 300, answer_length=64, answer_padding="random")
    lengths = [int(sample.layout.labelled.sum()) for sample in padded]
    own = len(MODEL.tokens.encode("blue"))
    assert min(lengths) == own + 1 and 48 < max(lengths) <= 64
    between = sum(length < (64 * (own + 1)) ** 0.5 for length in lengths)
    assert 120 < between < 180  # half lie below the geometric mean
    for sample in padded:
        ends = sample.layout.input_ids[sample.layout.labelled][own:]
        assert (ends == MODEL.tokens.end_of_turn).all()


def test_an_answer_without_room_for_an_end_is_cut_whatever_the_padding(tmp_path):
    long = {"image": "square.png", "conversations": talk("What?", "blue and green and red and black")}
    cut = [read(write(tmp_path, long), 1, answer_length=3, answer_padding=padding)[0] for padding in ("random", "full")]
    assert equal_layouts(cut[0].layout, cut[1].layout) and int(cut[0].layout.labelled.sum()) == 3
