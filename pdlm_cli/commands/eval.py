"""`pdlm eval`."""

from pathlib import Path
from typing import Any

import click

from pdlm_cli.decode_options import answer_options, chat_settings, decode_options, decode_settings, sampling_options
from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import (
    json_option,
    logging_options,
    model_options,
    output_option,
    workers_option,
)
from pdlm_cli.scene_options import scene_options
from pdlm_cli.signals import StopSignals

BATCH_SIZE = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Passes in one model call; a pass holds the regions of one picture, as many as the checkpoint takes.",
)
WORKERS = workers_option("draw and prepare pictures")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace the evaluation that --output holds.")


@click.group(short_help="Measure how good captions and answers are.")
def eval() -> None:
    """Measure how good captions and answers are.

    \b
    Examples:
      pdlm eval scenes --help
      pdlm eval questions --help
      pdlm eval tradeoff --help
      pdlm eval score --help
    """


@eval.command(short_help="Caption freshly drawn scenes and judge the captions.")
@model_options
@click.option("--pictures", type=click.IntRange(min=1), default=300, show_default=True, help="Scenes to draw.")
@scene_options(split="test", objects="2-6", size=None)
@decode_options
@BATCH_SIZE
@WORKERS
@output_option("out/eval")
@OVERWRITE
@json_option("the scores")
@logging_options
@click.pass_context
def scenes(
    ctx: click.Context,
    /,
    model: str | None,
    device: str,
    dtype: str,
    quantize: str | None,
    pictures: int,
    seed: int,
    split: str,
    level: int,
    size: int | None,
    objects: tuple[int, int],
    batch_size: int,
    workers: int,
    output: Path,
    overwrite: bool,
    as_json: bool,
    log_format: str,
    **decode: Any,
) -> None:
    """Caption freshly drawn scenes and judge the captions by rules, under the protocol of ParaDLC-Bench.

    No language model and no network is needed. --seed chooses the scenes, and seeds --temperature sampling; the
    same settings give the same scores. Scenes of the splits test and val are never trained on.

    \b
    In --output:
      report.md        scores by size, number of regions and attribute, and the worst twenty pictures
      worst.png        these pictures, with expected and found captions
      scores.json      the same scores for programs
      regions.parquet  a row a region
      judged.json      captions and answers of the judge, qa.json the questions: for `pdlm eval score`

    \b
    Examples:
      pdlm eval scenes --seed 7 --pictures 4 --steps 4
      pdlm eval scenes --pictures 3 --objects 2-3 --level 4 --output out/look --json
    """
    # The handlers stand before the slow imports: a container that is told to stop must not wait for torch.
    with StopSignals() as stop:
        from pdlm_cli.evaluation.job import SceneEvalJob
        from pdlm_cli.evaluation.scene_job import run
        from pdlm_cli.stdout import print_line

        job = SceneEvalJob(
            pictures=pictures,
            seed=seed,
            split=split,
            level=level,
            size=size,
            objects=objects,
            model=model,
            device=device,
            dtype=dtype,
            quantize=quantize,
            decode=decode_settings(decode),
            batch_size=batch_size,
            workers=workers,
            output=output,
            overwrite=overwrite,
        )
        result = run(job, log_format, stop)
    if as_json:
        print_line(result.to_json())
    ctx.exit(result.exit_code)


@eval.command(short_help="Ask about freshly drawn scenes and compare the answers.")
@model_options
@click.option("--pictures", type=click.IntRange(min=1), default=50, show_default=True, help="Scenes to draw.")
@scene_options(split="test", objects="2-6", size=None)
@answer_options(length=96, block=96, steps=96, sampler="factor")
@sampling_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Pictures in one model call, each with all that is asked about it.",
)
@WORKERS
@output_option("out/questions")
@OVERWRITE
@json_option("the scores")
@logging_options
@click.pass_context
def questions(
    ctx: click.Context,
    /,
    output: Path,
    overwrite: bool,
    as_json: bool,
    log_format: str,
    temperature: float,
    top_p: float,
    top_k: int,
    cfg_scale: float,
    length: int,
    block: int,
    steps: int,
    sampler: str,
    cache: str,
    **options: Any,
) -> None:
    """Ask about freshly drawn scenes, up to twelve questions each, and compare the answers with the right ones.

    An answer is right if it says the same word for word. "Always the same" is what one would get right who gives every
    question of a sort the same answer, without a look at the picture. The same settings give the same scores.

    \b
    In --output:
      report.md        right answers by sort of question
      worst.png        the pictures with the fewest right answers, with what was asked, expected and found
      answers.parquet  a row a question
      scores.json      the scores for programs

    \b
    Examples:
      pdlm eval questions --pictures 2 --length 8 --block 8 --steps 4
      pdlm eval questions --pictures 2 --objects 2-3 --cache frozen --output out/asked --json
    """
    with StopSignals() as stop:
        from pdlm_cli.evaluation.job import SceneEvalJob
        from pdlm_cli.evaluation.question_job import run
        from pdlm_cli.stdout import print_line

        sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "cfg_scale": cfg_scale}
        answer = {"length": length, "block": block, "steps": steps, "sampler": sampler, "cache": cache}
        decode = chat_settings({**answer, **sampling, "seed": options["seed"]})
        result = run(SceneEvalJob(output=output, overwrite=overwrite, decode=decode, **options), log_format, stop)
    if as_json:
        print_line(result.to_json())
    ctx.exit(result.exit_code)


@eval.command(short_help="How good captions are against how many steps they take, for every sampler.")
@model_options
@click.option("--pictures", type=click.IntRange(min=1), default=100, show_default=True, help="Scenes to draw.")
@scene_options(split="test", objects="2-6", size=None)
@BATCH_SIZE
@WORKERS
@output_option("out/tradeoff")
@OVERWRITE
@logging_options
@click.pass_context
def tradeoff(ctx: click.Context, /, output: Path, overwrite: bool, log_format: str, **options: Any) -> None:
    """How good captions are against how many steps they take: the same scenes, decoded in forty ways.

    The table compares every way with the published rule at 32 steps. With --pictures 100 a difference of half a point
    of Avg is noise.

    \b
    In --output:
      tradeoff.png   Avg over steps, a line a sampler
      tradeoff.md    the table
      scores.json    the same for programs

    \b
    Examples:
      pdlm eval tradeoff --pictures 2 --level 3 --size 96 --overwrite
      pdlm eval tradeoff --seed 7 --output out/curve
    """
    with StopSignals() as stop:
        from pdlm_cli.evaluation.job import SceneEvalJob
        from pdlm_cli.evaluation.tradeoff import run

        usual = decode_settings({})  # but for what is tried
        code = run(SceneEvalJob(output=output, overwrite=overwrite, decode=usual, **options), log_format, stop)
    ctx.exit(code)


@eval.command(short_help="Compute the scores of captions that were judged before.")
@click.argument("judged", type=LocalPath(dir_okay=False), metavar="JUDGED.json")
@click.option(
    "--questions",
    type=LocalPath(dir_okay=False),
    help="The qa.json that was asked from.  [default: the one beside JUDGED.json]",
)
@json_option("the scores")
@logging_options
@click.pass_context
def score(ctx: click.Context, /, judged: Path, questions: Path | None, as_json: bool, log_format: str) -> None:
    """Compute the scores of captions that were judged before: DLC-Bench, ParaDLC-Bench, or drawn scenes.

    JUDGED.json has an entry a mask, with its caption and responses: the judge's answers about recognition first,
    then to the questions of qa.json in their order. Masks of qa.json without a caption count as 0.

    \b
    Exit codes:
      0  all masks are scored
      3  masks have no caption, or a first answer that is neither yes nor no; they count as 0
      4  a file cannot be read or is not of this form

    \b
    Examples:
      pdlm eval score out/eval/judged.json
      pdlm eval score judged.json --questions qa.json --json
    """
    from pdlm_cli.evaluation.judged import run
    from pdlm_cli.stdout import print_line

    result = run(judged, questions if questions is not None else judged.parent / "qa.json", log_format)
    if as_json:
        print_line(result.to_json())
    ctx.exit(result.exit_code)
