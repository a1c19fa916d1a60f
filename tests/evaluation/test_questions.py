"""`pdlm eval questions` in process: what is asked, what counts as right, and what is written."""

import io
import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from model.chat import answer_question
from model.pdlm import PerceptionDLMBase
from model.preprocess import prepare_image
from model.settings import ChatSettings
from pdlm_cli.data_engine.questions import SORTS, WHOLE
from pdlm_cli.data_engine.scene import draw_scene
from pdlm_cli.evaluation import questions
from pdlm_cli.evaluation.question_job import run
from pdlm_cli.evaluation.questions import Answered, AnswerScores, AskedScene, SortScore
from pdlm_cli.evaluation.scenes import SceneSet
from pdlm_cli.loading import load_checkpoint
from pdlm_cli.main import main
from pdlm_cli.signals import StopSignals
from tests.cli.support import CHECKPOINT, REPOSITORY
from tests.evaluation.support import job_of

IMAGE_LEVEL = REPOSITORY / "tests/data/chat/checkpoint"
SHORT = ["--length", "6", "--block", "6", "--steps", "3", "--size", "96", "--level", "4"]
FILES = ("scores.json", "answers.parquet", "report.md", "worst.png")


def evaluate(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["eval", "questions", *map(str, arguments)])


@pytest.mark.parametrize("checkpoint", [CHECKPOINT, IMAGE_LEVEL], ids=["region", "image-level"])
def test_each_question_is_asked_as_if_it_were_the_first(checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate("--model", checkpoint, "--pictures", 2, *SHORT, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    rows = pq.read_table(tmp_path / "out/answers.parquet").to_pylist()
    model = load_checkpoint(str(checkpoint), "cpu", "fp32").model
    settings = ChatSettings(length=6, block=6, steps=3, sampler="factor")
    for index in range(2):
        scene = draw_scene(0, index, 4, 96, split="test", objects=(2, 6), plain=True)
        own = [row for row in rows if row["picture"] == f"test-0-{index:06d}"]
        assert [row["sort"] for row in own] == [sort for sort in (*SORTS, *WHOLE) if sort in {r["sort"] for r in own}]
        assert own[-2]["expected"].count(".") == len(scene.objects)
        image = prepare_image(Image.fromarray(scene.picture), model.config)
        for row in own[:3] + own[-1:]:
            assert row["found"] == answer_question(model, image, row["question"], settings).text


def test_the_same_settings_write_the_same_files(tmp_path: Path) -> None:
    common = ["--model", CHECKPOINT, "--pictures", 3, *SHORT, "--seed", 4]
    for name, batch in (("a", 1), ("b", 3)):
        result = evaluate(*common, "--batch-size", batch, "--output", tmp_path / name, "--json")
        assert result.exit_code == 0, result.stderr
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    scores = json.loads(result.stdout)
    rows = pq.read_table(tmp_path / "a/answers.parquet").to_pylist()
    assert (scores["pictures"], scores["questions"]) == (3, len(rows))
    assert scores["right"] == sum(row["right"] for row in rows) / len(rows)
    assert json.loads((tmp_path / "a/scores.json").read_text()).items() >= scores.items()
    assert Image.open(io.BytesIO((tmp_path / "a/worst.png").read_bytes())).height > 100
    again = evaluate(*common, "--output", tmp_path / "a")
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def told(tell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says what `tell` makes of a sort of question and its right answer."""

    def ask(_: PerceptionDLMBase, scenes: Sequence[AskedScene], __: ChatSettings) -> Iterator[list[Answered]]:
        for scene in scenes:
            yield [
                Answered(scene.name, sort, own.text, own.answer, tell(sort, own.answer))
                for sort, own in scene.questions
            ]

    monkeypatch.setattr(questions, "ask", ask)


def test_who_knows_everything_is_always_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told(lambda _, answer: f" {answer.upper()}.", monkeypatch)
    result = evaluate("--model", CHECKPOINT, "--pictures", 30, *SHORT, "--output", tmp_path, "--json")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert scores["right"] == 1 and 0.1 < scores["always_the_same"] < 0.6
    for sort, own in scores["by_sort"].items():
        assert own["right"] == 1 and own["questions"] >= 10, sort
    for sort in ("is it that color", "is there one", "left of"):
        assert 0.5 <= scores["by_sort"][sort]["always_the_same"] < 0.8


def test_who_says_always_the_same_is_right_as_often_as_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told(lambda *_: "yes", monkeypatch)
    result = evaluate("--model", CHECKPOINT, "--pictures", 20, *SHORT, "--output", tmp_path, "--json")
    by_sort = json.loads(result.stdout)["by_sort"]
    for sort in ("is it that color", "is there one", "left of"):
        assert by_sort[sort]["right"] in (by_sort[sort]["always_the_same"], 1 - by_sort[sort]["always_the_same"])
    assert by_sort["color of a part"]["right"] == by_sort["how many"]["right"] == 0
    report = (tmp_path / "report.md").read_text()
    assert f"| left of | {by_sort['left of']['questions']} | {100 * by_sort['left of']['right']:.2f} % |" in report


def answered(expected: str, found: str, sort: str = "closest") -> Answered:
    return Answered("test-0-000000", sort, "What?", expected, found)


@pytest.mark.parametrize(("found", "right"), [("A  hat.", True), ("a hat", True), ("hat", False), ("", False)])
def test_what_counts_as_right(found: str, right: bool) -> None:
    assert answered("a hat", found).right is right


def test_scores_of_few_answers() -> None:
    found = AnswerScores.of([answered("a", "b"), answered("a", "a"), answered("c", "c"), answered("d", "a", "left of")])
    assert found.by_sort["closest"] == SortScore(questions=3, right=2, usual=2)
    assert found.whole == SortScore(questions=4, right=2, usual=3)
    assert found.by_sort["how many"].share(0) is None


def test_a_stopped_evaluation_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stop = StopSignals()

    def tell(_: str, answer: str) -> str:
        stop.received = signal.SIGTERM
        return answer

    told(tell, monkeypatch)
    scenes = SceneSet(pictures=6, seed=0, split="test", level=4, size=96, objects=(2, 4))
    job = replace(job_of(tmp_path, scenes, CHECKPOINT), decode=ChatSettings())
    result = run(job, "plain", stop)
    assert (result.exit_code, json.loads(result.to_json())) == (143, {"exit_code": 143})
    assert not any((tmp_path / name).exists() for name in FILES)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--block", "5"], 2, "expected a block length that divides the answer length"),
        (["--model", "no/such-checkpoint"], 2, "no checkpoint at"),
        (["--top-p", "0"], 2, "top"),
        (["--output", "file"], 5, "cannot write to file"),
    ],
)
def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    result = evaluate("--model", CHECKPOINT, "--pictures", 1, *SHORT, "--output", "out", *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not Path("out/scores.json").exists()
