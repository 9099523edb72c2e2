"""The page's template with its style and script, so that nothing else can run in it.

The content security policy in the page's head allows data for images, and of styles and scripts
only those whose hash it names: whatever a file or class is called, it stays a text, and no request
leaves the page.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment
from jinja2.environment import TemplateStream
from markupsafe import Markup

from evaluation.pages import environment
from evaluation.report.numbers import table_of
from evaluation.sections import tables

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("base", "tokens", "page", "cases", "viewer", "narrow")
_SCRIPTS = ("data", "filters", "list", "stage", "viewer", "main")


def page_of(**values: object) -> TemplateStream:
    """Return the page as a stream of text.

    Args:
        values: what the template names; one that lacks is an error while it is written.
    """
    pages = environment(_TEMPLATES)
    pages.globals |= {"table_of": table_of, "tables": tables}
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    style = _joined(pages, _STYLES, "css")
    script = _joined(pages, _SCRIPTS, "js")
    return pages.get_template("report.html.j2").stream(
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        **values,
    )


def _joined(pages: Environment, names: tuple[str, ...], suffix: str) -> str:
    assert pages.loader is not None
    return "\n".join(pages.loader.get_source(pages, f"{name}.{suffix}")[0] for name in names)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
