"""Questions about a picture: one after the other, from the command line, from stdin and at a real terminal."""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from model.chat import answer_layout, answer_question
from model.layout import plan_conversation
from model.pdlm import load_model
from model.preprocess import prepare_image
from model.settings import ChatSettings
from pdlm_cli import chatting, checkpoints
from pdlm_cli.chatting import Conversation
from pdlm_cli.main import main
from tests.cli.support import CHECKPOINT, REPOSITORY

IMAGE_LEVEL = REPOSITORY / "tests/data/chat/checkpoint"
PHOTO = REPOSITORY / "examples/photo/demo.jpg"
SHORT = ["--length", "12", "--block", "6", "--steps", "4"]
SETTINGS = ChatSettings(length=12, block=6, steps=4)


def chat(*arguments: Any, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["chat", *map(str, arguments)], input=stdin)


def answers(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("checkpoint", [CHECKPOINT, IMAGE_LEVEL], ids=["region", "image-level"])
def test_each_question_is_asked_after_those_before_it(checkpoint: Path) -> None:
    model = load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    with Image.open(PHOTO) as photo:
        image = prepare_image(photo.convert("RGB"), model.config)
    command = [PHOTO, "What?", "How many?", "--json", "--model", checkpoint, *SHORT]
    first, second = answers(chat(*command))

    alone = answer_question(model, image, "What?", SETTINGS)
    assert (first["question"], first["answer"], first["tokens"]) == ("What?", alone.text, alone.tokens_generated)
    turns = [
        ((len(image.tiles), "\nWhat?"), alone.tokens),
        (("How many?",), [model.tokens.mask] * SETTINGS.length),
    ]
    after = answer_layout(model, [image], plan_conversation(model.tokens, model.config, turns), SETTINGS)
    assert (second["answer"], second["mean_confidence"]) == (after.text, round(after.mean_confidence, 4))

    forgotten = answers(chat(*command, "--forget"))[1]
    fresh = answer_question(model, image, "How many?", SETTINGS)
    assert (forgotten["answer"], forgotten["mean_confidence"]) == (fresh.text, round(fresh.mean_confidence, 4))
    assert forgotten["mean_confidence"] != second["mean_confidence"]


def test_an_answer_with_the_token_of_pictures_shows_none_to_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(CHECKPOINT, dtype=torch.float32, device=torch.device("cpu"))
    logits = model.logits
    monkeypatch.setattr(
        model, "logits", lambda *hidden: logits(*hidden).index_fill(-1, torch.tensor(model.tokens.image), 1e3)
    )
    with Image.open(PHOTO) as photo:
        talk = Conversation(model, prepare_image(photo.convert("RGB"), model.config), SETTINGS, remember=True)
    assert [talk.ask("What?").tokens for _ in range(2)] == [SETTINGS.length] * 2


def test_questions_of_stdin_are_answered_line_by_line() -> None:
    asked = answers(chat(PHOTO, "--json", "--model", CHECKPOINT, *SHORT, stdin="What?\n\n  How many? \n"))
    assert [one["question"] for one in asked] == ["What?", "How many?"]
    given = answers(chat(PHOTO, "What?", "How many?", "--json", "--model", CHECKPOINT, *SHORT))
    assert [one["answer"] for one in asked] == [one["answer"] for one in given]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape"])
def test_questions_of_stdin_are_utf8_whatever_the_locale(encoding: str) -> None:
    """As a process: how stdin is decoded is settled when Python starts."""
    command = [sys.executable, "-m", "pdlm_cli", "chat", PHOTO, "--json", "--model", CHECKPOINT, *SHORT]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(REPOSITORY)}
    given = "\ufeffW\xe4?\n\n".encode() + b"W\xf6?\n"
    asked = subprocess.run(command, input=given, capture_output=True, env=environment, timeout=120)
    assert asked.returncode == 4, asked.stderr
    assert rb"line 3 of stdin is not UTF-8: W\xf6?" in asked.stderr and b"Traceback" not in asked.stderr
    assert [json.loads(line)["question"] for line in asked.stdout.splitlines()] == ["W\xe4?"]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_stdout_takes_every_text_whatever_the_locale(encoding: str) -> None:
    """JSON stays JSON, a caption or an answer gets escapes."""
    question = "W\xe4? \u65e5? \U0001f600"
    command = [sys.executable, "-m", "pdlm_cli", "chat", PHOTO, question, "--json", "--model", CHECKPOINT, *SHORT]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(REPOSITORY)}
    asked = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["question"] == question

    script = "from pdlm_cli import stdout; stdout.prepare_streams(); stdout.print_line('\\u65e5 is the sun')"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, timeout=60)
    assert (printed.returncode, printed.stdout) == (0, b"\\u65e5 is the sun\n"), printed.stderr


def test_questions_end_when_nobody_reads_the_answers() -> None:
    command = [sys.executable, "-m", "pdlm_cli", "chat", PHOTO, "--json", "--model", CHECKPOINT, *SHORT]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as asking:
        assert asking.stdin is not None and asking.stdout is not None and asking.stderr is not None
        asking.stdout.close()
        asking.stdin.write(b"What?\n")
        asking.stdin.flush()  # and left open: it ends by itself
        assert asking.wait(timeout=120) == 0
        assert b"Traceback" not in asking.stderr.read()


def test_a_terminal_is_asked_until_its_end() -> None:
    """A real one: what is typed comes as from a keyboard, Ctrl-D at last."""
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "pdlm_cli", "chat", PHOTO, "--json", "--model", CHECKPOINT, *SHORT]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY
    ) as asking:
        os.close(terminal)
        os.write(keyboard, b"What?\n\x04")
        out, err = asking.communicate(timeout=120)
        os.close(keyboard)
    assert asking.returncode == 0, err
    lines = [line.removeprefix("> ") for line in out.decode().splitlines()]
    assert json.loads(lines[0])["question"] == "What?"


def test_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "shipped_checkpoint", lambda *_: CHECKPOINT)
    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    command = main.get_command(None, "chat")  # type: ignore[arg-type]
    assert command is not None and command.help is not None
    for line in command.help.split("Examples:")[1].split("\n"):
        if not line.strip():
            continue
        program, *arguments = shlex.split(line.split("<")[0])
        assert program == "pdlm"
        result = CliRunner().invoke(main, [*arguments, *SHORT], input="What?\n")
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([REPOSITORY / "README.md", "What?"], 4, "cannot be decoded"),
        ([PHOTO, "What?", "--block", "5"], 2, "expected a block length that divides the answer length"),
        ([PHOTO, "What?", "--model", "nowhere"], 2, "nowhere"),
        (["none.jpg", "What?"], 2, "does not exist"),
        ([PHOTO, "What? " * 9000], 2, "the model reads at most 16,384"),
        ([PHOTO, "What?", " "], 2, "a QUESTION is blank"),
        ([PHOTO], 4, "stdin has no question"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments: list[Any], code: int, message: str) -> None:
    result = chat(*SHORT, "--model", CHECKPOINT, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("stdin", ["", "\n  \n"])
def test_no_question_is_said_before_the_model_is_loaded(stdin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatting, "open_conversation", None)
    result = chat(PHOTO, "--json", stdin=stdin)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "stdin has no question" in result.stderr
