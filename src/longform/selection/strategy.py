"""Selection strategies: the order in which prompts are chosen, by a rule of this package or of another one (plugins).

A plugin is a function `strategy(candidates)` that returns all candidates, the most wanted first; `top_k`, floor and groups
stay with `select`. Candidates come sorted by id. Of the keywords `seed` and `prompts` (id -> Prompt) it gets those that
its signature accepts. It is called once.
"""

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from longform.plugins import Plugin, describe_error, describe_unknown, load_plugin, plugin_names
from longform.records.errors import BadInputError
from longform.records.schemas import Prompt
from longform.selection.potential import Candidate, ordered
from longform.selection.settings import Strategy

_BUILTIN: dict[str, Strategy] = {name: name for name in get_args(Strategy)}
"""Strategies of this package, by name."""


@dataclass(frozen=True, slots=True)
class LoadedStrategy:
    """A strategy by its name."""

    name: str
    plugin: Plugin | None = None
    """None: of this package."""

    @property
    def facts(self) -> dict[str, str]:
        """What is recorded with a selection: the name and, of a plugin, its version and the hash of its source."""
        return {"name": self.name} if self.plugin is None else self.plugin.facts

    def order(self, candidates: Sequence[Candidate], prompts: Mapping[str, Prompt], *, seed: int) -> list[Candidate]:
        """All candidates, the most wanted first.

        Args:
            candidates: In any order; the result does not depend on it.
            prompts: The rows of all prompts, by id.
            seed: For a random order.

        Raises:
            BadInputError: the plugin raised, or returned something else than an order of the candidates.
        """
        if self.plugin is None:
            return ordered(candidates, strategy=_BUILTIN[self.name], seed=seed)
        by_id = sorted(candidates, key=lambda it: it.id)
        given = {"seed": seed, "prompts": prompts}
        try:
            found = list(self.plugin.object(list(by_id), **_accepted(self.plugin.object, given)))
        except (Exception, SystemExit) as error:
            raise BadInputError(f"--strategy {self.name}: {describe_error(error, file=self.plugin.file)}") from error
        self._check(found, by_id)
        return found

    def _check(self, found: list[Any], candidates: list[Candidate]) -> None:
        others = [it for it in found if not isinstance(it, Candidate)]
        if others:
            raise BadInputError(f"--strategy {self.name}: returned {type(others[0]).__name__}; expected the candidates")
        counts, known = Counter(it.id for it in found), {it.id: it for it in candidates}
        lacking = [id_ for id_ in known if not counts[id_]]
        wrong = [it.id for it in found if counts[it.id] > 1 or known.get(it.id) != it]
        if lacking or wrong:
            what = f"lacks candidate {lacking[0]!r}" if lacking else f"repeats or changes candidate {wrong[0]!r}"
            raise BadInputError(
                f"--strategy {self.name}: the result {what}; a strategy returns every candidate once, and --top-k cuts"
            )


def load_strategy(name: str, *, place: str = "--strategy") -> LoadedStrategy:
    """The strategy of a name: of this package, of an entry point of `longform.selection`, or `module.path:Name`.

    Args:
        name: The name.
        place: The flag or key that names it, for errors.

    Raises:
        BadInputError: unknown name (the error suggests the nearest one), or the plugin cannot be loaded or called.
    """
    if name in _BUILTIN:
        return LoadedStrategy(name)
    installed = plugin_names("longform.selection")
    if ":" not in name and name not in installed:
        raise BadInputError(f"{place}: {describe_unknown(name, [*_BUILTIN, *installed], what='strategy')}")
    plugin = load_plugin(name, "longform.selection")
    if not callable(plugin.object) or inspect.isclass(plugin.object):
        raise BadInputError(f"{place} {name}: expected a function, not {type(plugin.object).__name__}")
    try:
        inspect.signature(plugin.object).bind((), **_accepted(plugin.object, {"seed": 0, "prompts": {}}))
    except TypeError as error:
        raise BadInputError(f"{place} {name}: cannot be called with candidates: {error}") from None
    except ValueError:  # not written in Python
        pass
    return LoadedStrategy(name, plugin)


def describe_strategy(facts: Mapping[str, str]) -> str:
    """A strategy's facts in words, as in `my_rules:hardest (version 1.2, source 0123456789ab)`."""
    if "source_sha256" not in facts:
        return facts["name"]
    version = f"version {facts['version']}, " if facts["version"] else ""
    return f"{facts['name']} ({version}source {facts['source_sha256'][:12]})"


def _accepted(function: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those keywords that a function accepts."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # not written in Python
        return {}
    if any(it.kind == it.VAR_KEYWORD for it in parameters):
        return dict(given)
    takes = {it.name for it in parameters if it.kind in (it.KEYWORD_ONLY, it.POSITIONAL_OR_KEYWORD)}
    return {name: value for name, value in given.items() if name in takes}
