"""HTML pages that need no other file and let nothing else in: template, style and script of a folder put into one."""

import base64
import importlib.resources
from dataclasses import dataclass
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


@dataclass(frozen=True)
class Inline:
    """A style or script that stands in a page. source: how a Content-Security-Policy names it, to let it alone in."""

    text: Markup
    source: str


def inline(folder: str, name: str) -> Inline:
    """A file of a folder of this package."""
    text = (importlib.resources.files("pdlm_cli") / folder / name).read_text("utf-8")
    digest = base64.b64encode(sha256(text.encode()).digest()).decode()
    return Inline(Markup(text), f"sha256-{digest}")  # nosec B704 # our own files, without anything of a user


def template(folder: str) -> Template:
    """page.html of a folder of this package, which escapes all that is put into it but for `Inline.text`."""
    environment = Environment(
        loader=PackageLoader("pdlm_cli", folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # tojson keeps it inside its element
    return environment.get_template("page.html")
