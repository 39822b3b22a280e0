"""Render pages from templates: texts of models are escaped, and control characters, which HTML forbids, are replaced."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_UNFIT = (*range(32), *range(127, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in _UNFIT if chr(code) not in "\n\t"}


def render(template: str, content: Mapping[str, Any]) -> str:
    """Render a template from `templates/` with `content`."""
    environment = Environment(
        loader=PackageLoader("longform.report"),
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template(template).render(content)


def visible(text: str) -> str:
    """Replace each character of `text` that is not allowed on a page or in a picture by a visible sign."""
    return text.translate(_CONTROLS)
