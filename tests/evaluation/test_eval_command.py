"""`pdlm eval` in process."""

import io
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli.annotated import INKS
from pdlm_cli.evaluation import scene_job
from pdlm_cli.main import main
from pdlm_cli.signals import StopSignals
from tests.cli.support import CHECKPOINT
from tests.evaluation.support import SCENES, TellingEngine, job_of, swapped

FAST = ["--model", str(CHECKPOINT), "--device", "cpu", "--steps", "2", "--length", "4", "--pictures", "3"]
FILES = ("scores.json", "regions.parquet", "judged.json", "qa.json", "report.md", "worst.png")


def evaluate(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["eval", "scenes", *map(str, arguments)])


def score(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["eval", "score", *map(str, arguments)])


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> TellingEngine:
    """In place of the model: mixes up the regions of every picture with six of them, and marks up its captions."""

    def tell(captions: list[str]) -> list[str]:
        return [f"{caption} `|` <b>" for caption in swapped(captions)] if len(captions) == 6 else captions

    engine = TellingEngine(SCENES, tell)
    monkeypatch.setattr(scene_job, "load_engine", lambda *_, **__: engine)
    return engine


RUN = ["--pictures", "12", "--seed", "5"]


def test_a_checkpoint_is_evaluated_reproducibly(tmp_path: Path) -> None:
    results = [evaluate(*FAST, "--seed", 7, "--output", tmp_path / name, "--json") for name in "ab"]
    results.append(evaluate(*FAST, "--seed", 8, "--output", tmp_path / "c", "--json"))
    assert [result.exit_code for result in results] == [0, 0, 0], results[0].stderr
    assert results[0].stdout == results[1].stdout
    assert results[0].stdout != results[2].stdout
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    scores = json.loads(results[0].stdout)
    assert scores["pictures"] == 3
    assert json.loads((tmp_path / "a/scores.json").read_text()) | scores == json.loads(
        (tmp_path / "a/scores.json").read_text()
    )
    ran = json.loads((tmp_path / "a/_eval/run.json").read_text())
    assert (ran["settings"]["seed"], ran["settings"]["steps"], ran["speed"]["images"]) == (7, 2, 3)


def test_what_a_run_writes_agrees(oracle: TellingEngine, tmp_path: Path) -> None:
    result = evaluate(*RUN, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    rows = pq.read_table(tmp_path / "out/regions.parquet").to_pylist()
    assert len(rows) == scores["masks"]
    assert scores["pos"] == pytest.approx(np.mean([row["pos"] for row in rows]))
    assert scores["neg"] == pytest.approx(np.mean([row["neg"] for row in rows if row["neg"] is not None]))
    assert scores["recognised"] == pytest.approx(np.mean([row["recognised"] for row in rows]))
    assert 0 < scores["recognised"] < 1

    again = score(tmp_path / "out/judged.json", "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout) == {name: scores[name] for name in json.loads(again.stdout)}

    summary = " ".join(result.stderr.split())
    for name, value in (("Pos", scores["pos"]), ("Neg", scores["neg"]), ("right kind of object", scores["recognised"])):
        assert f"{name} │ {100 * value:.2f} %" in summary


def test_the_report_is_markdown_without_html(oracle: TellingEngine, tmp_path: Path) -> None:
    assert evaluate(*RUN, "--output", tmp_path).exit_code == 0
    report = (tmp_path / "report.md").read_text()
    scores = json.loads((tmp_path / "scores.json").read_text())
    for title in (
        "Scores",
        "By size of the region",
        "By regions in the picture",
        "By question",
        "The worst 12 pictures",
    ):
        assert f"\n## {title}\n" in report
    assert f"| Pos | {100 * scores['pos']:.2f} % |" in report
    assert "| objects | `2-6` |" in report
    tables = [block.splitlines() for block in report.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "'\\|' <b>`" in report  # in code, where it is text
    assert report.index(f"### 1. {scores['worst'][0]['picture']}") < report.index("### 2. ")


def test_the_worst_pictures_are_drawn(oracle: TellingEngine, tmp_path: Path) -> None:
    assert evaluate(*RUN, "--output", tmp_path).exit_code == 0
    with Image.open(io.BytesIO((tmp_path / "worst.png").read_bytes())) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
        pixels = np.asarray(sheet).reshape(-1, 3)
    for ink in INKS[:6]:  # six outlines in the pictures with most regions
        assert (pixels == ink).all(axis=1).sum() > 100


def test_an_evaluation_is_not_replaced_unasked(oracle: TellingEngine, tmp_path: Path) -> None:
    assert evaluate(*RUN, "--output", tmp_path / "out").exit_code == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    result = evaluate(*RUN, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == before
    oracle.tell = swapped
    oracle.__post_init__()
    assert evaluate(*RUN, "--output", tmp_path / "out", "--overwrite").exit_code == 0
    assert (tmp_path / "out/scores.json").read_bytes() != before["scores.json"]

    (tmp_path / "own").mkdir()
    (tmp_path / "own/letter.txt").write_text("Dear ...")
    result = evaluate(*RUN, "--output", tmp_path / "own", "--overwrite")
    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["letter.txt"]


def test_a_run_that_is_stopped_writes_no_scores(
    oracle: TellingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopSignals()
    caption = oracle.caption

    def stopping(passes: Any) -> Any:
        stop.received = signal.SIGTERM
        return caption(passes)

    monkeypatch.setattr(oracle, "caption", stopping)
    result = scene_job.run(job_of(tmp_path, SCENES), "plain", stop)
    assert result.exit_code == 143
    assert not any((tmp_path / name).exists() for name in FILES)
    monkeypatch.undo()
    monkeypatch.setattr(scene_job, "load_engine", lambda *_, **__: oracle)
    assert evaluate(*RUN, "--output", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--objects", "2-60"], 2, "1 to 10"),
        (["--objects", "many"], 2, "--objects"),
        (["--model", "no/such-checkpoint"], 2, "no checkpoint at"),
        (["--output", "file"], 5, "cannot write to file"),
        (["--cache", "exact"], 2, "isolated"),
    ],
)
def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    result = evaluate(*FAST, "--output", "out", *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not Path("out/scores.json").exists()


QUESTIONS = {"1_0": [{"question": "?", "choices": [["red", 1], ["blue", -1]], "type": "positive"}]}


def write(folder: Path, judged: Any, questions: Any = QUESTIONS) -> Path:
    (folder / "qa.json").write_text(json.dumps(questions))
    (folder / "judged.json").write_text(json.dumps(judged))
    return folder / "judged.json"


def test_scores_of_a_judged_file(tmp_path: Path) -> None:
    file = write(tmp_path, {"1_0": {"caption": "A red car.", "responses": ["A. Yes", "red"]}})
    result = score(file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "100.00 %" in result.stderr
    moved = tmp_path / "elsewhere.json"
    (tmp_path / "qa.json").rename(moved)
    assert score(file).exit_code == 4
    assert score(file, "--questions", moved).exit_code == 0


@pytest.mark.parametrize(
    ("entries", "missing", "unparsed"),
    [
        ({}, 1, 0),
        ({"1_0": {"caption": None}}, 1, 0),
        ({"1_0": {"caption": " ", "responses": ["Yes", "red"]}}, 1, 0),
        ({"1_0": {"caption": "A car.", "responses": ["Perhaps", "red"]}}, 0, 1),
    ],
)
def test_masks_that_cannot_be_judged_are_reported(
    tmp_path: Path, entries: dict[str, Any], missing: int, unparsed: int
) -> None:
    questions = QUESTIONS | {"2_0": QUESTIONS["1_0"]}
    file = write(tmp_path, {"2_0": {"caption": "A red car.", "responses": ["Yes", "red"]}} | entries, questions)
    result = score(file, "--json")
    assert result.exit_code == 3
    assert "1_0" in result.stderr
    scores = json.loads(result.stdout)
    assert (scores["missing"], scores["recognitions_unparsed"], scores["pos"]) == (missing, unparsed, 0.5)


GOOD = {"caption": "A red car.", "responses": ["Yes", "red"]}


@pytest.mark.parametrize(
    ("judged", "questions", "message"),
    [
        ({"1_0": GOOD, "9_9": GOOD}, QUESTIONS, "9_9"),
        ({"1_0": GOOD | {"responses": ["Yes"]}}, QUESTIONS, "expected 2 responses"),
        ({"1_0": GOOD | {"responses": ["Yes", 1]}}, QUESTIONS, "expected responses"),
        ({"1_0": GOOD | {"caption": 1}}, QUESTIONS, "expected an object with caption"),
        ([GOOD], QUESTIONS, "expected a JSON object"),
        ({"1_0": GOOD}, {"1_0": [{"question": "?", "choices": [["red", 2]], "type": "positive"}]}, "mask 1_0"),
        ({"1_0": GOOD}, {"1_0": [{"question": "?", "choices": [["red", 1]], "type": "other"}]}, "mask 1_0"),
        ({"1_0": GOOD}, {}, "qa.json"),
    ],
)
def test_files_of_another_form_are_input_errors(tmp_path: Path, judged: Any, questions: Any, message: str) -> None:
    result = score(write(tmp_path, judged, questions))
    assert result.exit_code == 4
    assert message in result.stderr


def test_the_file_that_is_not_there_is_named_before_the_questions_beside_it(tmp_path: Path) -> None:
    result = score(tmp_path / "nothere.json")
    assert result.exit_code == 4
    assert f"cannot read {tmp_path / 'nothere.json'}: No such file" in result.stderr


def test_questions_that_are_not_there_can_be_named(tmp_path: Path) -> None:
    judged = write(tmp_path, {"1_0": GOOD})
    (tmp_path / "qa.json").unlink()
    result = score(judged)
    assert result.exit_code == 4
    assert f"cannot read {tmp_path / 'qa.json'}: No such file or directory; --questions names" in result.stderr


def test_examples_of_score_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out/eval").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "out/eval"):
        write(folder, {"1_0": GOOD})
    command = main.get_command(None, "eval").get_command(None, "score")
    lines = [line.split() for line in command.help.split("Examples:")[1].splitlines() if line.strip()]
    assert len(lines) == 2
    for program, *arguments in lines:
        assert program == "pdlm"
        assert CliRunner().invoke(main, arguments).exit_code == 0
