"""Addresses of the pages: those of the server, and the file names of a bundle."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote, urlencode

_STEP_DIGITS = 6
_MAX_NAME = 150
"""Maximum number of characters of a key in a file name."""
_NONE: Mapping[str, object] = MappingProxyType({})


class Links(Protocol):
    """The addresses of pages; an empty address means that the page does not exist here."""

    with_texts: bool
    """Whether there are pages with texts."""
    dynamic: bool
    """Whether pages are made on request, for any conditions."""

    def home(self) -> str:
        """The list of all runs."""
        ...

    def overlay(self) -> str:
        """The curves of several runs."""
        ...

    def run(self, key: str) -> str:
        """The page of a run."""
        ...

    def step_prefix(self, key: str) -> str:
        """The address that a step is appended to for the page with its texts."""
        ...

    def step(self, key: str, step: int) -> str:
        """The page with the texts of a step."""
        ...

    def rollouts(self, key: str, query: Mapping[str, object] = _NONE) -> str:
        """The list of rollouts that fulfil the conditions."""
        ...

    def rollout(self, key: str, step: int, row: int, query: Mapping[str, object] = _NONE) -> str:
        """The page of a rollout, with the list that it was chosen from."""
        ...

    def prompt(self, key: str, prompt_id: str) -> str:
        """The history of a prompt."""
        ...

    def study(self, key: str) -> str:
        """The page of a study."""
        ...

    def file(self, key: str, query: Mapping[str, object] = _NONE) -> str:
        """The page of a file of results."""
        ...


class ServerLinks:
    """The addresses of the server."""

    with_texts = True
    dynamic = True

    def home(self) -> str:  # noqa: D102
        return "/"

    def overlay(self) -> str:  # noqa: D102
        return "/overlay"

    def run(self, key: str) -> str:  # noqa: D102
        return f"/run/{quote(key, safe='')}"

    def step_prefix(self, key: str) -> str:  # noqa: D102
        return f"{self.run(key)}/rollouts?step="

    def step(self, key: str, step: int) -> str:  # noqa: D102
        return f"{self.step_prefix(key)}{step}"

    def rollouts(self, key: str, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102
        return _with_query(f"{self.run(key)}/rollouts", query)

    def rollout(self, key: str, step: int, row: int, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102
        return _with_query(f"{self.run(key)}/rollout/{step}/{row}", query)

    def prompt(self, key: str, prompt_id: str) -> str:  # noqa: D102
        return _with_query(f"{self.run(key)}/prompt", {"id": prompt_id})

    def study(self, key: str) -> str:  # noqa: D102
        return f"/study/{quote(key, safe='')}"

    def file(self, key: str, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102
        return _with_query(f"/file/{quote(key, safe='')}", query)


class BundleLinks:
    """The file names of a bundle, which is one folder.

    Args:
        with_texts: Whether the bundle has the pages with texts.
    """

    def __init__(self, *, with_texts: bool) -> None:
        self.with_texts = with_texts
        self.dynamic = False

    def home(self) -> str:  # noqa: D102
        return "index.html"

    def overlay(self) -> str:  # noqa: D102
        return "curves.html"

    def run(self, key: str) -> str:  # noqa: D102
        return f"run-{file_name(key)}.html"

    def step_prefix(self, key: str) -> str:  # noqa: D102
        return f"{page}#step=" if (page := self.rollouts(key)) else ""

    def step(self, key: str, step: int) -> str:  # noqa: D102
        return f"run-{file_name(key)}-step-{step:0{_STEP_DIGITS}d}.html" if self.with_texts else ""

    def rollouts(self, key: str, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102
        return _with_query(f"rollouts-{file_name(key)}.html", query, mark="#") if self.with_texts else ""

    def rollout(self, key: str, step: int, row: int, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102, ARG002
        return f"{page}#row-{row}" if (page := self.step(key, step)) else ""

    def prompt(self, key: str, prompt_id: str) -> str:  # noqa: D102
        return f"prompt-{_digest(prompt_id)}-{file_name(key)}.html" if self.with_texts else ""

    def study(self, key: str) -> str:  # noqa: D102
        return f"study-{file_name(key)}.html"

    def file(self, key: str, query: Mapping[str, object] = _NONE) -> str:  # noqa: D102, ARG002
        return f"file-{file_name(key)}.html" if self.with_texts else ""


def file_name(key: str) -> str:
    """A key as part of a file name, in ASCII; a long one ends in a hash, since file systems limit names to 255 bytes."""
    name = quote(key, safe="~").replace("%", "=")
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[: _MAX_NAME - 17]}={_digest(key)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _with_query(address: str, query: Mapping[str, object], *, mark: str = "?") -> str:
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{address}{mark}{urlencode(given)}" if given else address
