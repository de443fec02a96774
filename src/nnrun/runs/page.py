"""Pages: what is to be shown, as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from nnrun.base.files import write_text
from nnrun.base.shown import Page
from nnrun.base.visible import visible, visible_lines
from nnrun.runs.drawing.theme import DARK, LIGHT, chart_config
from nnrun.runs.page_items import items_of

if TYPE_CHECKING:
    from jinja2 import Template

# In the order in which they are loaded.
SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


def write_page(page: Page, path: Path, *, note: str = "") -> None:
    """Write a page, with `note` at its foot. All texts are shown as texts, whatever is in them."""
    # A run that writes no page does not pay for it.
    from markupsafe import Markup  # noqa: PLC0415

    sections, charts = items_of(page.sections)
    scripts = _scripts() if charts else []
    html = _template().render(
        wbr=Markup("<wbr>"),
        title=visible(page.title),
        lead=visible(page.lead),
        note=visible_lines(note),
        sections=sections,
        style=Markup(_style()),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        charts=Markup(_json({"config": chart_config("var(--{})".format), "specs": charts})) if charts else "",
    )
    write_text(path, html)


@cache
def _template() -> Template:
    """Return the page's template; the runs of a process share it."""
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415

    environment = Environment(
        autoescape=select_autoescape(default=True),
        loader=PackageLoader("nnrun.runs", "page_files"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _file(folder: str, name: str) -> str:
    return files("nnrun.runs").joinpath(folder, name).read_text(encoding="utf-8")


@cache
def _scripts() -> Sequence[str]:
    """Return the scripts of a page with charts: Vega's, without the address of their source maps, and ours."""
    vega = [re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", _file("vega", name)) for name in SCRIPTS]
    vega[0] = f"/* The licenses of these scripts:\n{_file('vega', 'LICENSES.txt').replace('*/', '* /')}*/\n{vega[0]}"
    return [*vega, _file("page_files", "page.js")]


def _policy(scripts: Sequence[str]) -> str:
    """Return the page's security policy: it loads nothing, and runs no script but these."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


@cache
def _style() -> str:
    """Return the style sheet; paper is light."""
    light, dark = (
        ":root { " + " ".join(f"--{name}: {color};" for name, color in colors.items()) + " }"
        for colors in (LIGHT, DARK)
    )
    rules = _file("page_files", "page.css")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{rules}"


def _json(value: object) -> str:
    """Return JSON that may stand in a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
