"""A caption to the attributes it mentions: the inverse of captions.py, and lenient with any other text.

Read word by word. Adjectives wait for their noun ("a red and white striped roof"); after "is", "are" or "in" they
belong to the noun before ("its roof is red"), until an article, a comma or the like begins a new phrase. The noun of
a pattern gives what waits to the noun before ("a red roof with white dots"). Adjectives of a kind are those of its
main part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pdlm_cli.data_engine.attributes import COLORS, MATERIALS, PATTERNS, PLAIN, Attributes, Part, in_order
from pdlm_cli.data_engine.captions import words
from pdlm_cli.data_engine.kinds import KINDS

_LINKS = {"is", "are", "in", "was", "were", "painted", "colored"}
_BREAKS = {*".,;:?", "a", "an", "the", "its", "it", "this", "that", "with", "whose", "which", "has", "have", "on", "of"}


def parse(caption: str) -> Attributes:
    """What a text mentions: the first kind, and parts in order of mention with what is said of each.

    A part mentioned twice in different terms appears twice. Words outside the vocabulary are passed over, so any
    text has a result, though maybe an empty one.
    """
    kind: str | None = None
    mentions: list[_Mention] = []
    waiting = _Mention("")
    last: _Mention | None = None
    linked = False
    for word in words(caption):
        role, value = _LEXICON.get(word, ("other", word))
        if role in _Mention.ADJECTIVES:
            (last if linked and last is not None else waiting).add(role, value)
        elif role == "pattern noun":
            (waiting if last is None else last).add("pattern", value)
            if last is not None:
                last.colors += waiting.colors
                waiting = _Mention("")
        elif role in ("part", "kind"):
            if role == "kind":
                if kind is not None and value != kind:
                    # Another object; what is said of it is not said of this one.
                    waiting, last, linked = _Mention(""), None, False
                    continue
                kind = value
                value = KINDS[kind].main.name
            last = replace(waiting, name=value, implied=role == "kind")
            mentions.append(last)
            waiting, linked = _Mention(""), False
        elif word in _LINKS:
            linked = True
        elif word in _BREAKS:
            linked = False
    # A kind alone says nothing of its main part, unless the part bears its name.
    said = [m.part() for m in mentions if not m.implied or m.has_adjectives or m.name == kind]
    parts = dict.fromkeys(said)
    described = {part.name for part in parts if part != Part(part.name)}
    return Attributes(kind, tuple(part for part in parts if part.name not in described or part != Part(part.name)))


def named_kinds(caption: str) -> set[str]:
    """Every kind a text names."""
    found = (_LEXICON.get(word, ("", "")) for word in words(caption))
    return {value for role, value in found if role == "kind"}


@dataclass
class _Mention:
    """What is said of one part so far. implied: through its kind."""

    name: str
    implied: bool = False
    colors: list[str] = field(default_factory=list)
    pattern: str = PLAIN
    material: str | None = None
    shape: str | None = None

    ADJECTIVES = ("color", "pattern", "material", "shape")

    def add(self, role: str, value: str) -> None:
        if role == "color":
            self.colors.append(value)
        else:
            setattr(self, role, value)

    @property
    def has_adjectives(self) -> bool:
        return bool(self.colors or self.material or self.shape) or self.pattern != PLAIN

    def part(self) -> Part:
        colors = tuple(dict.fromkeys(self.colors))
        return Part(self.name, in_order(self.pattern, colors), self.pattern, self.material, self.shape)


_SYNONYMS = {
    "grey": "gray",
    "spotted": "dotted",
    "spots": "dots",
    "wheel": "wheels",
    "wall": "walls",
    "petal": "petals",
    "leaf": "leaves",
    "sleeve": "sleeves",
    "windows": "window",
    "apple": "apples",
    "feeler": "feelers",
    "bow": "bows",
}


def _lexicon() -> Mapping[str, tuple[str, str]]:
    """word -> (role, value), plural and singular."""
    words: dict[str, tuple[str, str]] = {}

    def add(word: str, role: str, value: str) -> None:
        assert words.setdefault(word, (role, value)) == (role, value), f"{word!r} has two meanings"

    for color in COLORS:
        add(color, "color", color)
    for pattern, plural in PATTERNS.items():
        add(pattern, "pattern", pattern)
        add(plural, "pattern noun", pattern)
        add(plural.removesuffix("s"), "pattern noun" if plural != "zigzags" else "pattern", pattern)
    for material in MATERIALS:
        add(material, "material", material)
    for kind in KINDS.values():
        for word in (kind.name, kind.plural):
            add(word, "kind", kind.name)
        for part in kind.parts:
            if part.name != kind.name:
                add(part.name, "part", part.name)
            for shape in part.shapes:
                add(shape, "shape", shape)
    for word, meaning in _SYNONYMS.items():
        words.setdefault(word, words[meaning])
    return words


_LEXICON = _lexicon()
