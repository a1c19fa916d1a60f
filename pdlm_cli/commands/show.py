"""`pdlm show`."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pdlm_cli.decode_options import decode_options, decode_settings, sampling_seed_option
from pdlm_cli.local_path import LocalPath, NamedFile
from pdlm_cli.options import logging_options, model_options, moved_options

ALWAYS = ("source", "masks", "output", "log_format")
PICTURES, DRAWINGS = (".png", ".jpg", ".jpeg"), (".svg", ".pdf")
OF_RUN = ("pictures", "input_file", "images", "mask_pictures")  # of `pdlm caption`; all others are of an IMAGE


@click.command(short_help="Draw captions beside their picture, or how a training run learnt.")
@click.argument("source", type=LocalPath(exists=True), metavar="IMAGE|RUN")
@click.argument("masks", nargs=-1, type=LocalPath(exists=True, dir_okay=False))
@click.option(
    "--output",
    type=LocalPath(dir_okay=False),
    help="Picture to write, .png or .jpg; of a training .svg or .pdf too.  [default: IMAGE-captions.png in this "
    "folder, RUN/pictures.png or RUN/curves.png]",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="Most pictures of a run that are drawn.",
)
@click.option(
    "--steps-gif",
    type=NamedFile(".gif"),
    help="Draw the denoising of an IMAGE too, all captions filling in at once, as a GIF.",
)
@moved_options
@model_options
@decode_options
@sampling_seed_option
@logging_options
@click.pass_context
def show(
    ctx: click.Context,
    /,
    source: Path,
    masks: tuple[Path, ...],
    output: Path | None,
    pictures: int,
    steps_gif: Path | None,
    input_file: str | None,
    images: str | None,
    mask_pictures: str | None,
    model: str | None,
    device: str,
    dtype: str,
    quantize: str | None,
    seed: int,
    log_format: str,
    **decode: Any,
) -> None:
    """Caption regions of one IMAGE and draw them, or draw what `pdlm caption` wrote into the folder RUN. Of
    a RUN of `pdlm train`, finished or not, losses and learning rate are drawn.

    MASKS are pictures that are not black inside the region, one a region, or annotation files of any format with
    regions of IMAGE; a photo is turned as its EXIF says if only that gives their size. Each region is outlined and
    numbered, its caption stands beside in the same color. Captions of an IMAGE are printed too, one a line.

    \b
    Examples:
      pdlm show photo.jpg mask-0.png mask-1.png
      pdlm show photo.jpg masks.json --output captions.png
      pdlm show photo.jpg masks.json --steps-gif steps.gif
      pdlm show out/ --pictures 12
      pdlm show out/ --input masks.json
      pdlm show out/train/tiny
    """
    from pdlm_cli import logs
    from pdlm_cli.annotated import sheet
    from pdlm_cli.atomic import write_atomic
    from pdlm_cli.drawings import check_replaceable, write_figure, write_picture
    from pdlm_cli.errors import ConfigError, OutputError
    from pdlm_cli.moved import Moved
    from pdlm_cli.report import told_of_empty
    from pdlm_cli.showing import caption_picture, pages_of_run
    from pdlm_cli.stdout import print_line, printable
    from pdlm_cli.training.curves import draw_curves, is_training_run

    logs.configure(log_format)
    if source.is_dir() and masks:
        raise ConfigError(f"{source} is a folder, taken for a run, which has its masks already; leave MASKS out")
    trained = is_training_run(source)
    for option in _given(ctx):
        if trained or source.is_dir() != (option.name in OF_RUN):
            kind = "a run of `pdlm train`" if trained else "a run of `pdlm caption`" if source.is_dir() else "a picture"
            raise ConfigError(f"{option.opts[0]} has no meaning for {kind}; leave it out")
    if output is not None and output.suffix.lower() not in PICTURES + (DRAWINGS if trained else ()):
        raise ConfigError(f"--output {output} does not end in .png or .jpg")
    if output is not None and not output.parent.is_dir():
        raise OutputError(f"cannot write {output}: there is no folder {output.parent}")
    if source.is_dir():
        target = output or source / ("curves.png" if trained else "pictures.png")
    else:
        target = output or Path(f"{source.stem}-captions.png")
    if output is not None or not source.is_dir():  # the names that are chosen here in the folder of a run are ours
        check_replaceable(target)
    if trained:
        write_figure(target, draw_curves(source))
    elif source.is_dir():
        write_picture(target, sheet(pages_of_run(source, pictures, Moved(input_file, images, mask_pictures))))
    else:
        if not masks:
            raise ConfigError(f"{source} needs MASKS: mask pictures, one a region, or an annotation file")
        shown = caption_picture(
            source,
            masks,
            model,
            device,
            dtype,
            decode_settings(decode),
            seed,
            quantize=quantize,
            steps=steps_gif is not None,
        )
        for number, caption in enumerate(shown.captions, 1):
            print_line(f"{number}  {printable(caption)}")
        if empty := sum(not caption.strip() for caption in shown.captions):
            logs.log.warning("%s", told_of_empty(empty, len(shown.captions)))
        if steps_gif is not None and shown.gif is not None:
            write_atomic(steps_gif, shown.gif)
            logs.log.info("wrote %s", steps_gif)
        write_picture(target, shown.page)
    logs.log.info("wrote %s", target)


def _given(context: click.Context) -> list[click.Parameter]:
    """Options on the command line that do not apply to all that can be shown."""
    return [
        option
        for option in context.command.params
        if option.name not in ALWAYS and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
