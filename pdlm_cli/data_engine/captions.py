"""Attributes to a caption: many sentence shapes, one meaning. Its inverse is in parsing.py.

A part is named by its own noun ("a red roof"), the main part also through the kind ("a red car" has a red body).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdlm_cli.data_engine.attributes import PATTERNS, PLAIN, Attributes, Part
from pdlm_cli.data_engine.choice import chance, pick, shuffled
from pdlm_cli.data_engine.kinds import KINDS, Kind

# Words and punctuation marks; with the end these are 32 tokens of a tokenizer that knows the words (tokenizer.py).
MAX_WORDS = 31

# Fields are keys of _Phrases; a field in capitals begins a sentence.
_BARE = ("{HEAD}.", "This is {head}.", "There is {head}.", "This {predicate}.")
_ALL_PARTS = (
    "{A_KIND} with {all}.",
    "This {kind} has {all}.",
    "The {kind} has {all}.",
    "{A_KIND}: {all}.",
    "There is {a_kind}; {all_its}.",
    "{A_KIND} {all_whose}.",
)
_MAIN_ONLY = (*_BARE[:3], *_ALL_PARTS)
_MAIN_FIRST = (
    "{HEAD}; it has {others}.",
    "This is {head}; it has {others}.",
    "{HEAD}; {others_its}.",
    "{SHORT_HEAD} with {others}.",
    "There is {short_head} with {others}.",
    "This is {short_head} with {others}.",
)


def describe(attributes: Attributes, rng: np.random.Generator | None) -> str:
    """A caption that states all of the attributes and nothing else, in at most MAX_WORDS words.

    attributes: of a known kind, one to four parts with one or two colors each. rng: chooses the shape of the sentence;
    None for always the same one, parts in the order given.
    """
    assert attributes.kind is not None and attributes.parts
    kind = KINDS[attributes.kind]
    main = attributes.part(kind.main.name)
    others = [part for part in attributes.parts if part is not main]
    templates: tuple[str, ...] = _ALL_PARTS + _MAIN_FIRST
    if main is None:
        templates = _ALL_PARTS
    elif kind.name == kind.main.name:
        templates = _BARE
    elif not others:
        templates = _MAIN_ONLY
    for template in templates if rng is None else shuffled(rng, templates):
        caption = template.format_map(_Phrases(rng, kind, main, others if rng is None else shuffled(rng, others)))
        if len(words(caption)) <= MAX_WORDS:
            return caption
    raise AssertionError(f"no sentence is short enough for {attributes}")


def words(text: str) -> list[str]:
    """Words and punctuation marks of a caption, in lower case."""
    return re.findall(r"[a-z]+|[.,;:?]", text.lower())


def indefinite(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


@dataclass(frozen=True, slots=True)
class _Phrases:
    """What the templates are filled with, made up anew at every look."""

    rng: np.random.Generator | None
    kind: Kind
    main: Part | None
    others: Sequence[Part]

    def __getitem__(self, field: str) -> str:
        if field.isupper():
            phrase = self[field.lower()]
            return phrase[0].upper() + phrase[1:]
        match field:
            case "kind":
                return self.kind.name
            case "a_kind":
                return indefinite(self.kind.name)
            case "head" | "short_head":
                return indefinite(self._noun_phrase(self._known_main, self.kind.name, short=field == "short_head"))
            case "predicate":
                return self._predicate(self._known_main, self.kind.name, plural=False)
            case "others":
                return self._list(self.others)
            case "others_its":
                return self._clauses("its", self.others)
            case "all":
                return self._list(self._all)
            case "all_its":
                return self._clauses("its", self._all)
            case "all_whose":
                return self._clauses("whose", self._all)
        raise KeyError(field)

    @property
    def _known_main(self) -> Part:
        assert self.main is not None
        return self.main

    @property
    def _all(self) -> list[Part]:
        parts = [*([self.main] if self.main else []), *self.others]
        return parts if self.rng is None else shuffled(self.rng, parts)

    def _list(self, parts: Sequence[Part]) -> str:
        """ "a red roof, white walls, and a blue door"."""
        items = []
        for part in parts:
            phrase = self._noun_phrase(part, part.name)
            items.append(phrase if self.kind.part(part.name).plural else indefinite(phrase))
        # "striped walls in red and white and black wheels" could be read in two ways: a comma ends the colors.
        bare = len(parts) == 2 and parts[0].pattern == PLAIN
        return " and ".join(items) if bare else _joined(items)

    def _clauses(self, opening: str, parts: Sequence[Part]) -> str:
        """ "its roof is red, its walls are white, and its door is blue"."""
        plural = [self.kind.part(part.name).plural for part in parts]
        return _joined(
            [f"{opening} {self._predicate(part, part.name, many)}" for part, many in zip(parts, plural, strict=True)]
        )

    def _noun_phrase(self, part: Part, noun: str, short: bool = False) -> str:
        """ "tall striped walls in red and white". short: so that "with ..." may follow."""
        noun = f"{part.material} {noun}" if part.material else noun
        shape = f"{part.shape} " if part.shape else ""
        if part.pattern == PLAIN:
            return f"{shape}{part.colors[0]} {noun}"
        forms = [f"{shape}{part.pattern} {noun} in {self._both_colors(part)}"]
        if part.pattern != "dotted":
            forms += [f"{shape}{self._both_colors(part)} {part.pattern} {noun}"] * 2
        if not short:
            ground, second = part.colors
            forms.append(f"{shape}{ground} {noun} with {second} {PATTERNS[part.pattern]}")
        return forms[0] if self.rng is None else pick(self.rng, forms)

    def _predicate(self, part: Part, noun: str, plural: bool) -> str:
        """ "tall walls are striped in red and white"."""
        subject = " ".join(filter(None, (part.shape, part.material, noun)))
        said = part.colors[0]
        if part.pattern == "dotted":
            said = f"{part.colors[0]} with {part.colors[1]} {PATTERNS[part.pattern]}"
        elif part.pattern != PLAIN:
            said = f"{part.pattern} in {self._both_colors(part)}"
        return f"{subject} {'are' if plural else 'is'} {said}"

    def _both_colors(self, part: Part) -> str:
        """Colors of equal rank in any order; a ground comes before its dots."""
        swapped = part.pattern != "dotted" and self.rng is not None and chance(self.rng, 0.5)
        return " and ".join(part.colors[::-1] if swapped else part.colors)


def _joined(items: list[str]) -> str:
    return ", ".join(items[:-1]) + ", and " + items[-1] if len(items) > 1 else items[0]
