"""Rewards of other packages: functions or classes that a recipe names by `module.path:Name` or by an entry point.

A reward is called with (prompt, response, reference) as texts, and with the keyword arguments that its signature accepts, of
`prompt_id`, `step`, `criteria`, `length_range` and the keys of the prompt's `meta`. It returns a number, None to mask the
rollout, or a `RewardResult`. A sync function runs in a thread, so that it does not block judge calls.
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longform.plugins import Plugin, describe_error, load_plugin, shown_path
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.reward import DECLINED, RewardResult
from longform.rewards.settings import PluginRewardSettings, RewardSettings
from longform.text.structure import ParsedResponse, parse_response

_TEXTS = ("", "", "")


class PluginReward:
    """A reward of another package. A class is instantiated here, once, with the recipe's settings.

    Args:
        plugin: a function or a class, from `load_reward`.
        settings: of the recipe.

    Raises:
        BadInputError: the constructor of the class raised.
    """

    def __init__(self, plugin: Plugin, settings: PluginRewardSettings) -> None:
        self.plugin = plugin
        self._call: Any = plugin.object
        self._keywords: Mapping[str, Any] = settings.settings
        if inspect.isclass(plugin.object):
            try:
                self._call, self._keywords = plugin.object(**settings.settings), {}
            except (Exception, SystemExit) as error:
                raise BadInputError(f"{plugin.kind}: {describe_error(error, file=plugin.file)}") from error
        self._accepts = _accepted(self._call)

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:
        """The reward's result for the answer alone.

        Raises:
            StoppedError: the reward raised, or did not return a finite number, None or a `RewardResult`.
        """
        given = {
            **prompt.meta,
            "prompt_id": prompt.id,
            "step": step,
            "criteria": prompt.criteria,
            "length_range": prompt.length_range,
        }
        keywords = {name: value for name, value in given.items() if self._accepts(name)}
        keywords |= self._keywords
        texts = prompt.request, response.answer, reference
        if _is_async(self._call):
            try:
                found = await self._call(*texts, **keywords)
            except (Exception, SystemExit) as error:
                raise self._stopped(error) from error
        else:
            # Converted in the thread: a StopIteration could not leave it.
            found = await asyncio.to_thread(self._called, texts, keywords)
        return self._result(found)

    def _called(self, texts: tuple[str, str, str], keywords: Mapping[str, Any]) -> Any:
        try:
            return self._call(*texts, **keywords)
        except (Exception, SystemExit) as error:
            raise self._stopped(error) from error

    def _stopped(self, error: BaseException) -> StoppedError:
        return StoppedError(f"reward {self.plugin.kind}: {describe_error(error, file=self.plugin.file)}")

    def _result(self, found: Any) -> RewardResult:
        result = found if isinstance(found, RewardResult) else None
        score = found if result is None else result.score
        if score is None:
            return RewardResult(None, cause=DECLINED) if result is None or result.cause is None else result
        if isinstance(score, bool) or not isinstance(score, int | float | np.number) or not math.isfinite(score):
            what = f"{score!r} ({type(score).__name__})" if isinstance(score, float) else type(score).__name__
            place = f"{shown_path(self.plugin.file)}:{_line(self._call)}"
            raise StoppedError(
                f"reward {self.plugin.kind}: returned {what}; expected a finite number, None or a RewardResult ({place})"
            )
        return RewardResult(float(score)) if result is None else result


def load_reward(settings: PluginRewardSettings, *, folder: Path | None = None) -> Plugin:
    """Import a reward, and check that it can be called with its settings; it is not called.

    Args:
        settings: of the recipe.
        folder: where the module of `module.path:Name` may be; the current folder by default.

    Raises:
        BadInputError: it cannot be imported or called.
    """
    plugin = load_plugin(settings.kind, "longform.rewards", folder=folder)
    check_signature(plugin, settings.settings)
    return plugin


def load_rewards(rewards: Sequence[RewardSettings]) -> dict[str, Plugin]:
    """The plugins among the rewards of a recipe, by kind; see `load_reward`."""
    return {it.kind: load_reward(it) for it in rewards if isinstance(it, PluginRewardSettings)}


def try_rewards(rewards: Sequence[RewardSettings], prompt: PromptRow) -> list[str]:
    """Call each plugin among the rewards once on a sample: the strongest reference of `prompt` against its weakest one, or
    the text of a prompt without references. Returns a line for each.

    Raises:
        BadInputError: a reward raised, or did not return a valid result.
    """
    texts = [it.text for it in prompt.references] if isinstance(prompt, Ladder) else []
    response, reference = parse_response(texts[-1] if texts else prompt.request, "off"), texts[0] if texts else ""
    lines = []
    for it in rewards:
        if not isinstance(it, PluginRewardSettings):
            continue
        reward = PluginReward(load_reward(it), it)
        try:
            result = asyncio.run(reward.score(prompt, response=response, reference=reference, step=1))
        except StoppedError as error:
            raise BadInputError(str(error)) from error
        score = "None, which masks the rollout" if result.score is None else f"{result.score:.4g}"
        version = f"version {reward.plugin.version}, " if reward.plugin.version else ""
        source = f"{version}source {reward.plugin.source_sha256[:12]}"
        lines.append(f"reward {it.kind} ({source}) returned {score} for a sample of prompt {prompt.id!r}")
    return lines


def check_signature(plugin: Plugin, settings: Mapping[str, Any]) -> None:
    """Check that a plugin can be called as a reward with the settings of a recipe, without calling it.

    Raises:
        BadInputError: it cannot.
    """
    kind, target = plugin.kind, plugin.object
    if not callable(target):
        raise BadInputError(f"{kind}: expected a function or a class, not {type(target).__name__}")
    if not inspect.isclass(target):
        _check_call(kind, target, *_TEXTS, settings=settings)
        return
    if not any("__call__" in base.__dict__ for base in target.__mro__):
        raise BadInputError(f"{kind}: the class has no __call__(self, prompt, response, reference)")
    _check_call(kind, target, settings=settings)
    _check_call(kind, target.__call__, None, *_TEXTS, settings={})


def _check_call(kind: str, target: Callable[..., Any], *texts: str | None, settings: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # not written in Python
        return
    try:
        if texts:
            signature.bind_partial(*texts, **settings)  # other parameters may come from the prompt's row
        else:
            signature.bind(**settings)
    except TypeError as error:
        raise BadInputError(f"{kind}{signature}: {error}, when called as a reward with its `settings`") from None


def _is_async(call: Any) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _accepted(call: Callable[..., Any]) -> Callable[[str], bool]:
    """Whether a function accepts a keyword beside the three texts."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):  # not written in Python
        return lambda name: False
    places = [it for it in parameters if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
    taken = {it.name for it in places[: len(_TEXTS)]}
    named = {it.name for it in parameters if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY)} - taken
    takes_all = any(it.kind is it.VAR_KEYWORD for it in parameters)
    return lambda name: name in named or (takes_all and name not in taken)


def _line(call: Any) -> int:
    """The line where a function, or the `__call__` of an instance, is defined; 0 if it is not written in Python."""
    function = inspect.unwrap(call if inspect.isfunction(call) else type(call).__call__)
    code = getattr(function, "__code__", None)
    return code.co_firstlineno if code else 0
