"""An input as another format: one writer a file, with HOLDS, what the format can say of a region, and `write`.

What the command line says of each is here, which imports nothing heavy.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A format to convert to. format: the name of its reader. out: what OUT is called. text: what to know of it."""

    format: str
    out: str
    title: str
    text: str
    examples: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        return self.out.endswith("/")


KEPT = "A region whose mask cannot be used keeps its {place}, and the exit code is 3."
LEFT_OUT = "A region whose mask cannot be used is left out, and the exit code is 3."

# By the name of the command.
TARGETS = {
    "manifest": Target(
        "parquet-manifest",
        "OUT.parquet",
        "a Parquet manifest",
        "It is read much faster than JSON and takes less room.\n\n" + KEPT.format(place="row"),
        ("masks.json manifest.parquet", "masks.json --images photos/ --embed whole.parquet"),
    ),
    "coco": Target(
        "coco-instances",
        "OUT.json",
        "COCO instances",
        "Polygons and run lengths stay as they are; all other masks become run lengths.\n\n"
        + KEPT.format(place="annotation"),
        ("masks.json copy.json", "masks.json --images photos/ --json copy.json"),
    ),
    "panoptic": Target(
        "coco-panoptic",
        "OUT.json",
        "COCO panoptic",
        "A folder of PNGs, named like OUT.json without its ending, holds the masks. A pixel belongs to one region: one "
        "that would take pixels of an earlier region of its picture is left out whole, and counted as an error.\n\n"
        + LEFT_OUT,
        ("masks.json panoptic.json", "masks.json --images photos/ --json panoptic.json"),
    ),
    "lvis": Target(
        "lvis",
        "OUT.json",
        "LVIS",
        "As COCO instances, with addresses instead of file names: ./NAME, with %20 for a space and the like.\n\n"
        + KEPT.format(place="annotation"),
        ("masks.json lvis.json", "masks.json --images photos/ --json lvis.json"),
    ),
    "sa1b": Target(
        "sa-1b",
        "OUT/",
        "SA-1B",
        "The folder OUT gets one JSON file an image, named like its picture.\n\n" + KEPT.format(place="annotation"),
        ("masks.json regions/", "masks.json --images photos/ --json regions/"),
    ),
    "paradlc": Target(
        "paradlc-bench",
        "OUT.json",
        "ParaDLC-Bench",
        "Region ids are <image_id>_<index>: region 7 gets index 7, one whose id is no number some index that "
        "is free. Boxes are left, top, right, bottom.\n\n" + KEPT.format(place="annotation"),
        ("masks.json annotations.json", "masks.json --images photos/ --json annotations.json"),
    ),
    "training": Target(
        "training",
        "OUT.json",
        "training JSON",
        "Captions are those of INPUT, if it has any: the COCO of `pdlm export --to coco` has those of a finished run. "
        "Pictures that INPUT holds itself are held here too.\n\n" + KEPT.format(place="mask"),
        ("masks.json training.json", "masks.json --images photos/ --json training.json"),
    ),
    "plain": Target(
        "plain",
        "OUT.json",
        "a plain list",
        "A list of pictures, each with its masks as run lengths. Pictures that INPUT holds itself are held here too."
        "\n\n" + KEPT.format(place="mask"),
        ("masks.json list.json", "masks.json --images photos/ --json list.json"),
    ),
    "folder": Target(
        "image-folder",
        "OUT/",
        "an image folder",
        "The folder OUT gets copies of the pictures, and masks/NAME/REGION.png for each region.\n\n" + LEFT_OUT,
        ("masks.json --images photos/ whole/", "masks.json --images photos/ --json whole/"),
    ),
}
