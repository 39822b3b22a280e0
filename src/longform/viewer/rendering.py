"""Render the pages of the viewer, with its script."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from longform.report.rendering import render


def render_page(template: str, content: Mapping[str, Any], *, served: bool = True) -> str:
    """Render a page.

    Args:
        template: Name of the template.
        content: Values of the template.
        served: Whether a server is behind it; a page of a bundle has none.
    """
    return render(template, content, package="longform.viewer", script=_script(served=served), served=served)


@cache
def _script(*, served: bool) -> str:
    names = ["viewer.js"] if served else ["viewer.js", "search.js"]
    return "\n".join((files("longform.viewer") / "templates" / it).read_text(encoding="utf-8") for it in names)
