"""What is trained, what is looked at, and with which figures of the paper it is compared. Names and numbers only."""

from dataclasses import dataclass

TOWER, BASE, REFERENCE = "tower", "base", "reference"  # names of job files
SHARED = {TOWER: 0.7, BASE: 0.4}  # by all variants: each starts from the one before; cost of a sample, see Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One way of captioning held-out pictures with a trained model.

    steps: denoising steps. length: slots of a caption. together: masks a pass, at most. shapes: fewest and most of a
    picture. share: of the held-out pictures that are looked at. binding: in place of the checkpoint's own.
    """

    steps: int = 16
    length: int = 16
    together: int = 4
    shapes: tuple[int, int] = (2, 4)
    share: float = 1.0
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A trained model. name: of its job file. title: what it is, in words. looks: by name; "standard" is what variants
    are compared by. cost: of a training sample, in samples of the reference."""

    name: str
    title: str
    looks: dict[str, Look]
    cost: float = 1.0


STANDARD = "standard"
CROWDED = (5, 8)  # shapes; more than there are region prompts
_ONLY_STANDARD = {STANDARD: Look()}

VARIANTS = (
    Variant(
        REFERENCE,
        "reference: prompts, aligned RoI features, isolated attention, vision frozen",
        {
            STANDARD: Look(),
            **{f"{steps} steps": Look(steps=steps) for steps in (4, 8, 32, 64)},
            "32 slots": Look(length=32),
            "64 slots": Look(length=64),
            "same prompt": Look(binding="shared"),
            "one at a time": Look(together=1),
            **{
                f"crowded, {together} a pass": Look(together=together, shapes=CROWDED, share=0.5)
                for together in (1, 2, 4)
            },
        },
    ),
    Variant("no-prompts", "no region prompts", _ONLY_STANDARD),
    Variant("no-prompts-released-roi", "no region prompts, released RoI rule", _ONLY_STANDARD),
    Variant("released-roi", "released RoI rule", _ONLY_STANDARD),
    Variant("released-roi-vision", "released RoI rule, vision trained too", _ONLY_STANDARD, cost=1.1),
    Variant("no-roi", "no RoI replay", _ONLY_STANDARD),
    Variant("masked-roi", "RoI features of what the mask covers alone", _ONLY_STANDARD),
    Variant("structured-attention", "structured attention as released, running positions", _ONLY_STANDARD, cost=1.1),
    Variant("full-attention", "full attention, running positions", _ONLY_STANDARD, cost=1.1),
    Variant("train-vision", "vision trained too", _ONLY_STANDARD, cost=1.1),
    Variant("same-prompt", "the same prompt for all regions", _ONLY_STANDARD),
    Variant(
        "single-mask",
        "trained on one mask at a time",
        {STANDARD: Look(), "one at a time": Look(together=1)},
        cost=0.8,
    ),
    Variant(
        "length-32",
        "captions of 32 slots",
        {STANDARD: Look(length=32), "32 steps": Look(length=32, steps=32)},
        cost=1.15,
    ),
    Variant("released", "everything as released", _ONLY_STANDARD, cost=1.1),
)
BY_NAME = {variant.name: variant for variant in VARIANTS}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two scores side by side. changed, against: variant and look. paper: the two scores of the paper, in percent."""

    question: str
    changed: tuple[str, str]
    against: tuple[str, str]
    paper: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Comparisons that belong together. about: what is asked, and how the paper's setting differs."""

    title: str
    about: str
    comparisons: tuple[Comparison, ...]


_STANDARD = (REFERENCE, STANDARD)

GROUPS = (
    Group(
        "Region prompts and RoI replay",
        "The released RoI rule scales the box twice: whatever the region, it samples the first cell or two of the "
        "feature map. Under it, RoI tokens say next to nothing of a region, and prompts alone can. The aligned rule "
        "samples the region itself. The paper's ablations are those of the released rule.",
        (
            Comparison(
                "No region prompts, released RoI rule",
                ("no-prompts-released-roi", STANDARD),
                ("released-roi", STANDARD),
                (1.1, 53.7),
            ),
            Comparison("No region prompts, aligned RoI rule", ("no-prompts", STANDARD), _STANDARD, (1.1, 53.7)),
            Comparison(
                "No RoI replay, where it is released", ("no-roi", STANDARD), ("released-roi", STANDARD), (51.3, 53.7)
            ),
            Comparison("No RoI replay, where it is aligned", ("no-roi", STANDARD), _STANDARD, (51.3, 53.7)),
            Comparison("The released RoI rule for the aligned one", ("released-roi", STANDARD), _STANDARD),
            Comparison("What the mask covers for the whole box", ("masked-roi", STANDARD), _STANDARD),
            Comparison("The same prompt for all, in training too", ("same-prompt", STANDARD), _STANDARD, (68.6, 73.5)),
            Comparison(
                "The same prompt for all, in captioning only", (REFERENCE, "same prompt"), _STANDARD, (68.6, 73.5)
            ),
        ),
    ),
    Group(
        "Attention",
        "Full attention lets captions see each other; structured attention, as released, hides them from each other "
        "but for what leaks through the prompt and image; isolated attention hides them wholly and is what makes an "
        "exact cache possible. Full attention needs running positions, so that it is compared with structured "
        "attention under the same.",
        (
            Comparison(
                "Full attention for structured",
                ("full-attention", STANDARD),
                ("structured-attention", STANDARD),
                (47.5, 53.7),
            ),
            Comparison("Full attention for isolated", ("full-attention", STANDARD), _STANDARD, (47.5, 53.7)),
            Comparison("Structured attention for isolated", ("structured-attention", STANDARD), _STANDARD),
            Comparison("Everything as released", ("released", STANDARD), _STANDARD),
        ),
    ),
    Group(
        "Training",
        "The vision tower has learnt which words regions have before, without region prompts. Training on one mask at "
        "a time shows as many regions in two and a half times the samples.",
        (
            Comparison("Vision trained too", ("train-vision", STANDARD), _STANDARD, (50.3, 53.7)),
            Comparison(
                "Vision trained too, where RoI is released",
                ("released-roi-vision", STANDARD),
                ("released-roi", STANDARD),
                (50.3, 53.7),
            ),
            Comparison("Trained on single masks, captioned together", ("single-mask", STANDARD), _STANDARD),
            Comparison("Trained and captioned one mask at a time", ("single-mask", "one at a time"), _STANDARD),
        ),
    ),
    Group(
        "Denoising steps and caption length",
        "Captions have 16 slots here and 32 in the paper; compared are the same shares: half as many steps as slots, "
        "as many, twice as many, and twice the slots in the same steps.",
        (
            Comparison("4 steps for 16", (REFERENCE, "4 steps"), _STANDARD),
            Comparison("8 steps for 16", (REFERENCE, "8 steps"), _STANDARD, (69.0, 73.5)),
            Comparison("32 steps for 16", (REFERENCE, "32 steps"), _STANDARD, (67.5, 73.5)),
            Comparison("64 steps for 16", (REFERENCE, "64 steps"), _STANDARD),
            Comparison("32 slots in 16 steps, in captioning only", (REFERENCE, "32 slots"), _STANDARD, (68.0, 73.5)),
            Comparison("64 slots in 16 steps, in captioning only", (REFERENCE, "64 slots"), _STANDARD),
            Comparison("32 slots in 16 steps, trained so", ("length-32", STANDARD), _STANDARD, (68.0, 73.5)),
            Comparison("32 slots in 32 steps, trained so", ("length-32", "32 steps"), _STANDARD),
        ),
    ),
    Group(
        "Masks a pass",
        "Pictures with more shapes than there are region prompts are split into passes of at most four masks. The same "
        "pictures two or one mask at a time show what sharing a pass costs.",
        (
            Comparison("2 to 4 shapes, one at a time", (REFERENCE, "one at a time"), _STANDARD),
            Comparison(
                "5 to 8 shapes, four a pass for one", (REFERENCE, "crowded, 4 a pass"), (REFERENCE, "crowded, 1 a pass")
            ),
            Comparison(
                "5 to 8 shapes, two a pass for one", (REFERENCE, "crowded, 2 a pass"), (REFERENCE, "crowded, 1 a pass")
            ),
        ),
    ),
)
