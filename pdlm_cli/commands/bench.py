"""`pdlm bench`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pdlm_cli.decode_options import decode_options, decode_settings
from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import SIZES, compile_option, logging_options, model_options

BASELINES = ("released", "sequential", "ar")  # as contenders.BASELINES has them; that module costs an import of torch
# Of a BenchJob, as they are given; the rest are those of decoding.
FIELDS = (
    *("model", "random_weights", "vocabulary", "device", "dtype", "quantize", "compiled", "tiles", "regions"),
    *("values", "baselines", "repeats", "warmup", "pictures", "quick"),
)
# Where a measurement has no such option.
UNSAID = {"tiles": None, "values": None, "part_steps": None, "part_regions": None, "pictures": 1}
# What --quick makes of options that were not given.
QUICK = {"repeats": 2, "warmup": 1, "pictures": 4, "random_weights": "tiny", "steps": 8, "length": 8, "regions": 3}


@click.group(short_help="Measure how fast captions come.")
def bench() -> None:
    """Measure how fast captions come, against what, and how far that is from what the machine can do.

    \b
    Every measurement writes into --output:
      results.parquet  a row a point, with all repeats: for `pdlm bench compare`
      results.json     the same, with facts about model, machine and versions; its content is the last line of stdout
      results.md       the tables, for who reads them beside the code
      *.png            charts, if matplotlib is installed
      index.html       a page of all that

    \b
    Baselines run the same weights on the same machine, in turn with what they are compared with:
      released    the published loop: one pass at a time, everything anew in every step, fp64 over the vocabulary
      sequential  one region a pass
      ar          left to right with a cache, a region at a time, the picture encoded for each

    \b
    Examples:
      pdlm bench throughput --quick
      pdlm bench targets --help
      pdlm bench compare --help
    """


@dataclass(frozen=True)
class Measurement:
    """short: a line. says: what is measured. examples: command lines. varies: in words, if something does. of_scenes:
    whether drawn scenes are captioned. takes: which options of a sweep mean something here. baselines: where they are
    not asked for. The rest: defaults of options."""

    short: str
    says: str
    examples: tuple[str, ...]
    varies: str = ""
    regions: int = 6
    baselines: tuple[str, ...] = ()
    repeats: int = 5
    of_scenes: bool = False
    takes: tuple[str, ...] = ("tiles", "regions", "values", "baselines", "part")


MEASUREMENTS = {
    "throughput": Measurement(
        "Captions over regions a picture.",
        "Pictures with 1 to --regions regions: regions and tokens a second, time of a picture (the paper's Figure 1b). "
        "Regions beyond what a pass takes are more passes of the same batch.",
        (
            "pdlm bench throughput --quick",
            "pdlm bench throughput --baseline released,sequential,ar --repeats 10",
            "pdlm bench throughput --random-weights 100m --vocabulary 4096 --values 1,6",
        ),
        varies="Regions a picture",
    ),
    "parallelism": Measurement(
        "Four masks a picture, at 1, 2 and 4 a pass.",
        "The same four masks in four passes, in two and in one, one pass after the other (the paper's Figure 1c).",
        ("pdlm bench parallelism --quick", "pdlm bench parallelism --baseline released,ar"),
        varies="Regions a pass",
        regions=4,
        takes=("tiles", "values", "baselines", "part"),
    ),
    "steps": Measurement(
        "Time over denoising steps.",
        "Captions in 16, 32, 48 and 64 steps (the paper's Table 9), by its rule, remask, unless --sampler says "
        "otherwise. What steps do to quality, `pdlm eval tradeoff` says.",
        ("pdlm bench steps --quick --values 2,4,8", "pdlm bench steps --baseline released"),
        varies="Steps",
    ),
    "length": Measurement(
        "Time over the length of captions.",
        "Captions of 16, 32 and 64 slots (the paper's Table 11).",
        ("pdlm bench length --quick --values 4,8", "pdlm bench length --steps 32"),
        varies="Slots of a caption",
    ),
    "e2e": Measurement(
        "A real run by its stages.",
        "A whole `pdlm caption` over drawn scenes: start (processes, weights), load and preprocess (threads beside the "
        "model), encode, prefill, decode (the device), write, and how long the device was idle.",
        ("pdlm bench e2e --quick", "pdlm bench e2e --pictures 300 --repeats 3"),
        repeats=3,
        of_scenes=True,
        regions=1,
        takes=(),
    ),
    "memory": Measurement(
        "Memory over passes a batch.",
        "Batches of 1, 2, 4 and 8 full passes: memory that is held at most, beside what is planned for it.",
        ("pdlm bench memory --quick --values 1,2", "pdlm bench memory --device cuda --random-weights 8b"),
        varies="Passes a batch",
        repeats=1,
        takes=("tiles", "values"),
    ),
    "load": Measurement(
        "From nothing to the first caption.",
        "New processes: imports, reading and checking the checkpoint, the first pass and the second.",
        ("pdlm bench load --quick", "pdlm bench load --model CHECKPOINT --repeats 10"),
        regions=1,
        takes=("tiles",),
    ),
    "targets": Measurement(
        "What is to be reached, and what is.",
        "Every target of docs/performance.md, reached or by how much not, and what each part contributes: random "
        "weights (100m on CPU, 8b on CUDA; with a vocabulary of 126,464), 7 tiles, --regions regions; the number of "
        "steps that adaptive decoding needs is counted on the small checkpoint that ships. Of slow loops two steps or "
        "one region are run and the rest is counted, where it is the same work again; the output says so.",
        ("pdlm bench targets --quick", "pdlm bench targets --output docs/bench --repeats 3"),
        repeats=3,
        of_scenes=True,
        baselines=BASELINES,
        takes=("tiles", "regions", "part"),
    ),
}


def _options(about: Measurement) -> list[Callable[[Any], Any]]:
    def number(name: str, least: int, text: str, default: int | None = None, show: str | None = None) -> Any:
        kind = click.IntRange(min=least)
        return click.option(name, type=kind, default=default, show_default=default is not None, metavar=show, help=text)

    of_all = [
        model_options,
        compile_option,
        click.option(
            "--random-weights",
            type=click.Choice(SIZES),
            help="A model of this size with random weights in place of --model: only its speed means something.",
        ),
        number(
            "--vocabulary", 300, "Tokens of random weights.  [default: of the size; LLaDA's but for tiny]", show="N"
        ),
        number("--repeats", 1, "Measure every point so often, in turn with the others.", about.repeats),
        number("--warmup", 0, "Do so much before, which does not count.", 1),
        click.option("--quick", is_flag=True, help="A look within minutes: tiny random weights, and little of all."),
        click.option(
            "--output",
            type=LocalPath(file_okay=False),
            help="Folder of the results, which replace those of before.  [default: out/bench/NAME]",
        ),
    ]
    of_sweeps = {
        "tiles": [
            number("--tiles", 1, "Of a picture, thumbnail included.  [default: the most there can be]", show="N")
        ],
        "regions": [number("--regions", 1, "Of a picture.", about.regions)],
        "values": [
            click.option("--values", metavar="N,N,...", callback=_numbers, help=f"{about.varies}, in place of those.")
        ],
        "baselines": [
            click.option(
                "--baseline",
                "baselines",
                default="",
                metavar="NAME,...",
                callback=_baselines,
                help=f"What to compare with: {', '.join(BASELINES)}.",
            )
        ],
        "part": [
            number(
                "--part-steps",
                1,
                "Run N steps of the published loop and count the rest: it is the same work.",
                show="N",
            ),
            number("--part-regions", 1, "Run N regions of who takes one at a time, and count the rest.", show="N"),
        ],
    }
    of_scenes = [number("--pictures", 1, "Scenes that are drawn and captioned.", 100)]
    return [
        *of_all,
        *(option for name in about.takes for option in of_sweeps[name]),
        *(of_scenes if about.of_scenes else ()),
        decode_options,
        logging_options,
    ]


def _command(name: str, about: Measurement) -> click.Command:
    def measure(ctx: click.Context, /, log_format: str, **given: Any) -> None:
        _run(ctx, name, log_format, given)

    decorated: Any = click.pass_context(measure)
    for option in reversed(_options(about)):
        decorated = option(decorated)
    examples = "\n".join(f"  {line}" for line in about.examples)
    text = f"{about.says}\n\n\b\nExamples:\n{examples}"
    command: click.Command = click.command(name, short_help=about.short, help=text)(decorated)
    return command


def _run(ctx: click.Context, name: str, log_format: str, given: dict[str, Any]) -> None:
    if given["random_weights"] is not None and given["model"] is not None:
        raise click.UsageError("--random-weights stand in place of --model: give one of them")
    if given["vocabulary"] is not None and given["random_weights"] is None and name != "targets":
        raise click.UsageError("--vocabulary is of --random-weights")
    if given["quick"]:
        given |= _quick(ctx, name, given)
    about = MEASUREMENTS[name]
    given = {**UNSAID, "regions": about.regions, "baselines": about.baselines, **given}
    part = {"steps": given.pop("part_steps"), "regions": given.pop("part_regions")}
    if name == "targets":  # whose loops are slow on purpose
        part = {"steps": part["steps"] or 2, "regions": part["regions"] or 1}
    settings = {field: given.pop(field) for field in FIELDS}
    output = given.pop("output") or Path("out/bench") / name
    decode = decode_settings(given)  # before imports that take seconds
    from pdlm_cli.bench.contenders import Part
    from pdlm_cli.bench.run import run
    from pdlm_cli.bench.session import BenchJob
    from pdlm_cli.stdout import print_line

    job = BenchJob(bench=name, output=output, decode=decode, part=Part(**part), **settings)
    print_line(run(job, log_format))


def _quick(ctx: click.Context, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """QUICK where nothing else was said."""

    def said(option: str) -> bool:
        return ctx.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT

    wanted = {option: value for option, value in QUICK.items() if not said(option)}
    if given["model"] is not None or name == "e2e":  # of which the checkpoint that ships is a quick one
        wanted.pop("random_weights", None)
    return wanted


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    words = value.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise click.BadParameter(f"{value!r}; expected whole numbers from 1 with commas between, like 1,2,4")
    return tuple(int(word) for word in words)


def _baselines(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name for name in value.split(",") if name)
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; expected of {', '.join(BASELINES)}, with commas between")
    return tuple(dict.fromkeys(names))


for _name, _about in MEASUREMENTS.items():
    bench.add_command(_command(_name, _about))


@bench.command(short_help="Two measurements side by side, with their noise.")
@click.argument("before", type=LocalPath(exists=True), metavar="A")
@click.argument("after", type=LocalPath(exists=True), metavar="B")
@logging_options
def compare(before: Path, after: Path, log_format: str) -> None:
    """Show what changed from measurement A to measurement B, folders or results.parquet, and by how much of it may be
    chance: noise is half the 95 % interval of the difference of the means. The last line of stdout is the same as JSON.

    \b
    Examples:
      pdlm bench compare out/bench/before out/bench/after
      pdlm bench compare before.parquet after.parquet --log-format json
    """
    from pdlm_cli.bench.comparison import compare as run
    from pdlm_cli.stdout import print_line

    print_line(run(before, after, log_format))
