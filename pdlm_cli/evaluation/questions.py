"""Questions about freshly drawn scenes, put to the model, and its answers beside the only right ones."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model.preprocess import PreparedImage, prepare_image
from model.settings import ChatSettings
from pdlm_cli.data_engine.limits import SPLITS
from pdlm_cli.data_engine.questions import SORTS, WHOLE, Question, each_sort
from pdlm_cli.data_engine.records import image_id
from pdlm_cli.data_engine.scene import draw_scene
from pdlm_cli.device import model_errors
from pdlm_cli.evaluation.scenes import SceneSet
from pdlm_cli.preparation import run_ahead
from pdlm_cli.progress import Progress

if TYPE_CHECKING:
    from model.config import PerceptionDLMConfig
    from model.pdlm import PerceptionDLMBase

ASKING = 2  # number of the random stream of a scene that its questions come from; 1 is that of the benchmark's


@dataclass(frozen=True, slots=True)
class Answered:
    """A question about the picture of that name. sort: what is asked for, as `each_sort` has it."""

    picture: str
    sort: str
    question: str
    expected: str
    found: str

    @property
    def right(self) -> bool:
        """Word for word; case, white space and a full stop at the end aside."""
        expected, found = (" ".join(text.lower().split()).rstrip(".") for text in (self.expected, self.found))
        return expected == found


@dataclass(frozen=True, slots=True)
class SortScore:
    """Answers to one sort of question. usual: how many one would get right who always says the same."""

    questions: int
    right: int
    usual: int

    @classmethod
    def of(cls, answers: Sequence[Answered]) -> "SortScore":
        expected = Counter(answer.expected for answer in answers)
        return cls(len(answers), sum(answer.right for answer in answers), max(expected.values(), default=0))

    def share(self, count: int) -> float | None:
        return count / self.questions if self.questions else None


@dataclass(frozen=True)
class AnswerScores:
    """whole: of all questions. by_sort: in the order of `each_sort`."""

    pictures: int
    whole: SortScore
    by_sort: Mapping[str, SortScore]

    @classmethod
    def of(cls, answers: Sequence[Answered]) -> "AnswerScores":
        sorts = {sort: SortScore.of([one for one in answers if one.sort == sort]) for sort in (*SORTS, *WHOLE)}
        counts = [(own.questions, own.right, own.usual) for own in sorts.values()]
        whole = SortScore(*(sum(column) for column in zip(*counts, strict=True)))
        return cls(len({answer.picture for answer in answers}), whole, sorts)

    def to_json(self) -> dict[str, Any]:
        def shares(own: SortScore) -> dict[str, Any]:
            return {"questions": own.questions, "right": own.share(own.right), "always_the_same": own.share(own.usual)}

        by_sort = {sort: shares(own) for sort, own in self.by_sort.items()}
        return {"pictures": self.pictures, **shares(self.whole), "by_sort": by_sort}


@dataclass(frozen=True, slots=True)
class AskedScene:
    """A scene on its way to the model."""

    name: str
    image: PreparedImage
    questions: Sequence[tuple[str, Question]]


def evaluate(
    scenes: SceneSet,
    model: "PerceptionDLMBase",
    settings: ChatSettings,
    *,
    batch_size: int,
    workers: int,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Iterator[list[Answered]]:
    """The answers about each picture, in order, until somebody has stopped it.

    batch_size: pictures of a model call, each with all its questions. workers: threads that draw and prepare.
    Raises ConfigError if the model cannot answer, DeviceError.
    """
    with closing(run_ahead(range(scenes.pictures), lambda i: prepare(scenes, i, model.config), workers)) as works:
        for batch in iter(lambda: list(islice(works, batch_size)), []):
            if stopped():
                return
            yield from ask(model, batch, settings)
            progress.advance(len(batch))


def prepare(scenes: SceneSet, index: int, config: "PerceptionDLMConfig") -> AskedScene:
    """Draw a scene, its captions in their plainest form, and what is asked about it."""
    split, seed = scenes.split, scenes.seed
    scene = draw_scene(seed, index, scenes.level, scenes.size, split=split, objects=scenes.objects, plain=True)
    rng = np.random.default_rng(np.random.SeedSequence([SPLITS.index(split), seed, index, ASKING]))
    asked = tuple(each_sort(rng, scene.view(scenes.level)))
    return AskedScene(image_id(split, seed, index), prepare_image(Image.fromarray(scene.picture), config), asked)


def ask(model: "PerceptionDLMBase", scenes: Sequence[AskedScene], settings: ChatSettings) -> Iterator[list[Answered]]:
    """All questions about some scenes at once, each as if it were the first."""
    from model.chat import answer_layouts
    from model.layout import plan_chat

    blank = [model.tokens.mask] * settings.length
    each = [(scene, question) for scene in scenes for _, question in scene.questions]
    with model_errors():
        layouts = [
            plan_chat(model.tokens, model.config, tiles=len(scene.image.tiles), question=question.text, answer=blank)
            for scene, question in each
        ]
        found = iter(answer_layouts(model, [scene.image for scene, _ in each], layouts, settings))
    for scene in scenes:
        yield [Answered(scene.name, sort, own.text, own.answer, next(found).text) for sort, own in scene.questions]
