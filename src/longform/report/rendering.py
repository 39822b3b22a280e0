"""Render pages from templates: texts of models are escaped, and control characters, which HTML forbids, are replaced.

A page has everything in it and a content policy that allows only that: its own style, and its own script if it has one. Both
are named by their hashes, so nothing that a text brings along can run.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

_UNFIT = (*range(32), *range(127, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in _UNFIT if chr(code) not in "\n\t"}


def render(
    template: str,
    content: Mapping[str, Any],
    *,
    package: str = "longform.report",
    script: str = "",
    served: bool = False,
) -> str:
    """Render a template with `content`.

    Args:
        template: Name of the template, in `templates/` of the package or of `longform.report`.
        content: Values of the template.
        package: Package of the template.
        script: JavaScript of the page, one of our own.
        served: Whether the page may send forms and requests to where it came from.
    """
    style = style_sheet()
    policy = Markup(content_policy(script, served=served))
    page = {"style": Markup(style), "script": Markup(script), "policy": policy, "served": served}
    return _environment(package).get_template(template).render(page | dict(content))


def content_policy(script: str = "", *, served: bool = False) -> str:
    """The content security policy of a page with our style and this script."""
    rules = ["default-src 'none'", f"style-src '{_digest(style_sheet())}'", "base-uri 'none'"]
    if script:
        rules.append(f"script-src '{_digest(script)}'")
    rules += ["connect-src 'self'", "form-action 'self'"] if served else ["form-action 'none'"]
    return "; ".join(rules)


@cache
def style_sheet() -> str:
    """The style of every page."""
    return (files("longform.report") / "templates" / "style.css").read_text(encoding="utf-8")


def visible(text: str) -> str:
    """Replace each character of `text` that is not allowed on a page or in a picture by a visible sign."""
    return text.translate(_CONTROLS)


@cache
def _environment(package: str) -> Environment:
    packages = dict.fromkeys((package, "longform.report"))
    return Environment(
        loader=ChoiceLoader([PackageLoader(it) for it in packages]),
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )


@cache
def _digest(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"
