"""All rewards of a recipe as one function of texts, with the curriculum's state in a file.

Other trainers call it with the responses of a step. It reads each prompt's rung, asks the judges, returns the weighted mean
of the rewards (None where one is missing, so that the response is left out), and moves prompts up that were won. The state
survives the end of the process; several processes of one machine may share it.
"""

import asyncio
import base64
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longform.curriculum.criteria import group_means, judged_by
from longform.curriculum.schedule import Curriculum, PromptDraw, PromptOutcome
from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.recipe.inputs import check_inputs, new_curriculum
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.reward import RewardResults, criterion_scores, outcome_of, scores_by_kind
from longform.rewards.reward_set import RewardSet, build_rewards
from longform.rewards.settings import GroupSettings
from longform.text.structure import ParsedResponse, parse_response
from longform.wording import load_wording

STATE = "curriculum.json"
LOG = "calls.sqlite"


def load_without_run(path: Path) -> Recipe:
    """Load a recipe whose rewards and curriculum can be used outside a run.

    Raises:
        BadInputError: the recipe is invalid, `curriculum.top` is `self`, which needs the texts of a run, or a reward
            compares the responses of a group.
    """
    recipe = load_recipe(path)
    if recipe.curriculum.top == "self":
        raise BadInputError(f"{path}: curriculum.top: self needs the texts of a run; use stay or retire")
    if any(isinstance(it, GroupSettings) for it in recipe.rewards):
        raise BadInputError(
            f"{path}: rewards: kind: group needs whole groups, which other trainers do not hand over at once"
        )
    return recipe


class RecipeReward:
    """Scores responses by the rewards of a recipe; callable as a reward function of TRL's GRPOTrainer.

    Args:
        recipe: Recipe file, whose prompts or ladders the responses belong to.
        state: Folder for the curriculum's state and the recorded judge calls.

    Raises:
        BadInputError: the recipe or a file that it names cannot be used, or `curriculum.top` is `self`.
    """

    def __init__(self, recipe: Path, *, state: Path) -> None:
        self.recipe = load_without_run(recipe)
        inputs = check_inputs(self.recipe)
        self.prompts: Sequence[PromptRow] = inputs.prompts
        self._places = {it.id: index for index, it in enumerate(self.prompts)}
        self._specs, self._weights = inputs.judges, [it.weight for it in self.recipe.rewards]
        self._folder = state
        state.mkdir(parents=True, exist_ok=True)
        self._log = SqliteCallLog(state / LOG)
        self._thread = JudgeThread()
        self._thread.__enter__()
        self._endpoints: dict[str, Endpoint] = {}
        self._rewards: RewardSet | None = None
        self.__name__ = "longform"  # by which trainers name the metric

    def __call__(self, completions: Sequence[Any], prompt_id: Sequence[str], **_: Any) -> list[float | None]:
        """Score the responses of a step.

        Args:
            completions: [N] texts, or conversations whose last message is the response.
            prompt_id: [N] the prompts that they answer.

        Returns:
            [N] weighted means of the rewards; None where a reward is missing.

        Raises:
            BadInputError: a prompt is unknown.
        """
        self._thread.submit(0, self.score_group(list(map(_text, completions)), prompt_id))
        return self._thread.collect()[0]

    async def score_one(self, text: str, prompt_id: str) -> float | None:
        """Score one response, as `__call__` does."""
        future = asyncio.run_coroutine_threadsafe(self.score_group([text], [prompt_id]), self._thread.loop)
        return (await asyncio.wrap_future(future))[0]

    async def score_group(self, texts: Sequence[str], prompt_ids: Sequence[str]) -> list[float | None]:
        """Score responses on the thread of the judges; see `__call__`."""
        indices = [self._index(it) for it in prompt_ids]
        with self._curriculum() as (curriculum, state):
            state["step"] += 1
            step: int = state["step"]
            draws = {index: curriculum.face(index, step) for index in dict.fromkeys(indices)}
        rewards = self._built()
        parsed = [parse_response(text, self.recipe.generation.think) for text in texts]
        scoring = [
            self._score(rewards, index, response, draws[index], step)
            for index, response in zip(indices, parsed, strict=True)
        ]
        results = await asyncio.gather(*scoring)
        with self._curriculum() as (curriculum, _):
            curriculum.commit(curriculum.stage(_outcomes(indices, draws, results)))
        return [self._combined(it) for it in results]

    def close(self) -> None:
        """Close the endpoints and the log of calls."""
        for number, endpoint in enumerate(self._endpoints.values()):
            self._thread.submit(number, endpoint.close())
        self._thread.collect()
        self._thread.__exit__()
        self._log.close()

    async def _score(
        self, rewards: RewardSet, index: int, response: ParsedResponse, draw: PromptDraw, step: int
    ) -> RewardResults:
        prompt = judged_by(self.prompts[index], draw.criteria)
        reference = ""
        if isinstance(prompt, Ladder):
            reference = prompt.references[min(draw.rung, len(prompt.references) - 1)].text
        return await rewards.score(prompt, response=response, reference=reference, step=step)

    def _combined(self, results: RewardResults) -> float | None:
        scores = scores_by_kind(results)
        if scores is None:
            return None
        weights = dict(zip(self.recipe.kinds, self._weights, strict=True))
        return sum(weights[kind] * score for kind, score in scores.items()) / sum(weights[kind] for kind in scores)

    def _index(self, prompt_id: str) -> int:
        if prompt_id not in self._places:
            raise BadInputError(f"{self.recipe.data.shown_path}: has no prompt {prompt_id!r}")
        return self._places[prompt_id]

    def _built(self) -> RewardSet:
        """The rewards, built where their endpoints are used: on the judges' loop."""
        if self._rewards is None:
            budget = Budget(self.recipe.run.budget, spent=self._log.totals().cost, resume="a larger run.budget")
            self._endpoints = {
                name: Endpoint(name, spec, call_log=self._log, budget=budget) for name, spec in self._specs.items()
            }
            self._rewards = build_rewards(
                self.recipe.rewards,
                self._endpoints,
                secret=self._log.secret(),
                seed=self.recipe.run.seed,
                wording=load_wording(),
                policy=self.recipe.policy,
                trust_remote_code=self.recipe.trust_remote_code,
            )
        return self._rewards

    @contextmanager
    def _curriculum(self) -> Iterator[tuple[Curriculum, dict[str, Any]]]:
        """The curriculum as its file has it, and stored again; other processes wait meanwhile."""
        path = self._folder / STATE
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            curriculum = new_curriculum(self.recipe, self.prompts)
            state: dict[str, Any] = {"step": 0}
            if path.exists():
                state = json.loads(path.read_text(encoding="utf-8"))
                curriculum.restore(base64.b64decode(state["curriculum"]), source=path)
            yield curriculum, state
            state["curriculum"] = base64.b64encode(curriculum.state()).decode()
            write_text(path, json.dumps(state))


def _outcomes(
    indices: Sequence[int], draws: Mapping[int, PromptDraw], results: Sequence[RewardResults]
) -> list[PromptOutcome]:
    """What each prompt's responses came to; one with a missing reward has no outcome, since it is not trained on."""
    outcomes: dict[int, list[str | None]] = {index: [] for index in draws}
    scores: dict[int, list[list[float] | None]] = {index: [] for index in draws}
    for index, result in zip(indices, results, strict=True):
        outcomes[index].append(None if scores_by_kind(result) is None else outcome_of(result))
        scores[index].append(criterion_scores(result))
    return [
        PromptOutcome(index, draws[index].rung, tuple(it), criteria=group_means(draws[index].criteria, scores[index]))
        for index, it in outcomes.items()
    ]


def _text(completion: Any) -> str:
    """The response of a completion, which TRL gives as a text or as a conversation."""
    if isinstance(completion, str):
        return completion
    return str(completion[-1]["content"])
