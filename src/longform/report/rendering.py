"""A page from its template: what a model wrote is escaped, and control characters, which HTML may not hold, are replaced."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page of a file in `templates/`, filled with `content`."""
    environment = Environment(
        loader=PackageLoader("longform.report"),
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        finalize=_visible,
    )
    return environment.get_template(template).render(content)


def _visible(value: Any) -> Any:
    """Text with a sign in place of each control character; markup made here stays as it is."""
    return value.translate(_CONTROLS) if type(value) is str else value
