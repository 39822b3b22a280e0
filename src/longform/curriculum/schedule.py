"""The curriculum of a run: the prompts of each step, the rung of each prompt, promotions, and the state in checkpoints.

Dynamic reference scheduling (Writing-RL): a prompt's rung is read once per (prompt, step), so that all responses of a group
are compared with the same reference. Wins stage a promotion by one rung. It is committed together with the update, and only
if the prompt is still on the same rung. Validation never promotes.

The state is a rung and a streak per prompt and, with `top: self`, the hash of a text; the shuffled order is recomputed, not
stored. It stays small for a million prompts, and a step changes O(batch) of it. A schedule of criteria adds a score per
criterion.
"""

from collections.abc import Collection, Iterable, Sequence
from io import BytesIO
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longform.curriculum.criteria import CriteriaSchedule, CriterionMeans, restore_means
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import BadInputError, StoppedError


class PromptOutcome(NamedTuple):
    """The outcomes of a prompt's rollouts in one step."""

    prompt_index: int
    """Row of the prompt in the ladders file."""
    rung: int
    """Rung of the reference."""
    outcomes: tuple[str | None, ...]
    """win, tie, loss, or None (missing verdict), one per rollout."""
    text_hashes: tuple[str, ...] = ()
    """Hashes of the responses; needed if one of them may become a rung (top: self)."""
    criteria: CriterionMeans = ()
    """Mean scores by the criteria that the group was judged by."""


class RungUpdate(NamedTuple):
    """The effect of a visit on the state: the new streak and the new rung."""

    prompt_index: int
    faced: int
    rung: int
    streak: int
    own_text: str | None = None
    """Hash of the policy's own response that becomes the new rung after the last reference (top: self)."""
    criteria: CriterionMeans = ()
    """Mean scores of the group by criterion, for the schedule of criteria."""

    @property
    def promoted(self) -> bool:
        """Whether the prompt moves up."""
        return self.rung > self.faced


def own_rung(rungs: Sequence[str], policy: str) -> int | None:
    """Return the index of the initial policy's response in a ladder; None if it has none."""
    return next((rung for rung, model in enumerate(rungs) if model == policy), None)


def starting_rung(rungs: Sequence[str], settings: CurriculumSettings, *, policy: str) -> int:
    """Return a prompt's first rung; in mode `fixed`, its only one.

    Args:
        rungs: Models of the references, weakest first.
        settings: Settings of the curriculum.
        policy: Model name of the policy's own references.

    Raises:
        ValueError: the ladder does not contain the reference that the settings name.
    """
    if settings.mode == "fixed":
        wanted = policy if settings.reference == "self" else settings.reference
        if wanted == "best":
            return len(rungs) - 1
        own = own_rung(rungs, str(wanted))
        if own is None:
            raise ValueError(f"has no reference of {wanted!r}, which curriculum.reference asks for")
        return own
    if settings.mode == "dynamic" and settings.start == "own":
        own = own_rung(rungs, policy)
        if own is None:
            raise ValueError(f"has no reference of the policy {policy!r}, which curriculum.start: own asks for")
        return own
    return 0


def staged_rung(num_rungs: int, *, stages: int, progress: float, draw: float) -> int:
    """Mode `staged`: draw a rung from the part of the ladder for the current stage of the run.

    Args:
        num_rungs: Number of references.
        stages: Number of parts, from weak to strong; a ladder with fewer rungs than parts repeats some.
        progress: Fraction of the steps already taken, in [0, 1).
        draw: Uniform number in [0, 1).
    """
    stage = min(int(progress * stages), stages - 1)
    low = stage * num_rungs // stages
    high = max((stage + 1) * num_rungs // stages, low + 1)
    return min(low + int(draw * (high - low)), num_rungs - 1)


def mixed_rung(num_rungs: int, *, draw: float) -> int:
    """Mode `mixed`: draw a rung uniformly; `draw` is uniform in [0, 1)."""
    return min(int(draw * num_rungs), num_rungs - 1)


def rung_update(visit: PromptOutcome, *, streak: int, num_rungs: int, settings: CurriculumSettings) -> RungUpdate:
    """Return the effect of one visit on a prompt's streak and rung in mode `dynamic`.

    A visit is won if any of its rollouts wins (paper: one rollout per prompt, a strict win promotes) or, if `wins` is a
    fraction, if that fraction of its verdicts are wins. A visit with no verdict leaves the streak unchanged. At the top,
    `stay` keeps the last reference; with `retire`, the rung `num_rungs` marks the prompt as finished; with `self`, this and
    all later rungs are the policy's own winning response, the first of the group.
    """
    stays = RungUpdate(visit.prompt_index, visit.rung, visit.rung, streak)
    verdicts = [outcome for outcome in visit.outcomes if outcome is not None]
    if not verdicts:
        return stays
    share = verdicts.count("win") / len(verdicts)
    won = share >= settings.wins if settings.wins < 1 else share > 0
    streak = streak + 1 if won else 0
    at_top = visit.rung >= num_rungs - 1
    if streak < settings.wins or (at_top and settings.top == "stay"):
        return stays._replace(streak=streak)
    own_text = visit.text_hashes[visit.outcomes.index("win")] if at_top and settings.top == "self" else None
    return RungUpdate(visit.prompt_index, visit.rung, visit.rung + 1, 0, own_text)


def apply_updates(rungs: np.ndarray, streaks: np.ndarray, updates: Sequence[RungUpdate]) -> list[RungUpdate]:
    """Apply updates to the state in place; return the promotions that took effect.

    Args:
        rungs: [prompts] int32, the current rung of each prompt.
        streaks: [prompts] int32, consecutive visits won on that rung.
        updates: Updates from `rung_update`; an update is dropped if its prompt has changed rungs in the meantime.
    """
    promotions = []
    for it in updates:
        if rungs[it.prompt_index] == it.faced:
            rungs[it.prompt_index], streaks[it.prompt_index] = it.rung, it.streak
            if it.promoted:
                promotions.append(it)
    return promotions


FILE = "curriculum.npz"
"""File name in a checkpoint."""
_ORDER, _RUNG, _REDRAW, _SOURCE = 1, 2, 4, 5  # streams of random draws
_GOLDEN = (sqrt(5) - 1) / 2
_TRIES = 20
"""Maximum number of draws per additional prompt; enough unless the step already contains nearly all prompts."""
_DIGEST_BYTES = 32


def most_of_source(count: int, share: float) -> int:
    """Return how many of `count` prompts of a step may come from a source with this share: its part and three more."""
    return min(count, ceil(count * share) + 3)


class PromptDraw(NamedTuple):
    """A prompt drawn for a step, and its rung."""

    prompt_index: int
    rung: int
    own_text: str | None = None
    """Hash of the policy's own earlier response that is the reference if the rung is above the ladder."""
    criteria: tuple[int, ...] | None = None
    """Positions of the scored criteria that it is judged by, see `criteria.judged_by`; None: all that it has."""


class Curriculum:
    """State and rules of the curriculum of one run; `num_rungs` has the number of references of each prompt, `criteria` the
    number of scored criteria, for a schedule of them.

    With several sources, each has an order of its own, and each place in a step belongs to one of them: the places of a run
    follow a golden-ratio sequence, which keeps the shares of every stretch close to the weights.
    """

    def __init__(
        self,
        num_rungs: Sequence[int],
        starts: Sequence[int],
        settings: CurriculumSettings,
        *,
        seed: int,
        steps: int,
        sources: Sequence[int] | None = None,
        shares: Sequence[float] = (),
        criteria: Sequence[int] = (),
    ) -> None:
        self.settings = settings
        self.criteria = CriteriaSchedule(criteria, settings) if settings.criteria != "all" else None
        self.num_rungs = np.asarray(num_rungs, dtype=np.int32)
        self.rungs = np.asarray(starts, dtype=np.int32)
        self.streaks = np.zeros_like(self.rungs)
        # SHA-256 of the policy's own response that is the reference of a prompt above its ladder.
        self._own_texts = np.zeros((len(self.rungs) if settings.top == "self" else 0, _DIGEST_BYTES), dtype=np.uint8)
        self._seed, self._steps = seed, steps
        numbers = np.zeros(len(self.rungs), dtype=np.int64) if sources is None else np.asarray(sources)
        self._pools = [np.flatnonzero(numbers == number) for number in range(max(len(shares), 1))]
        self._bounds = np.cumsum(np.asarray(shares or [1.0]) / sum(shares or [1.0]))
        # Epoch and position of each source.
        self._places = [[0, 0] for _ in self._pools]
        self._orders = [self._shuffled(0, number) for number in range(len(self._pools))]

    @classmethod
    def of(
        cls,
        ladders: Iterable[tuple[str, Sequence[str]]],
        settings: CurriculumSettings,
        *,
        policy: str,
        seed: int,
        steps: int,
        sources: Sequence[int] | None = None,
        shares: Sequence[float] = (),
        criteria: Sequence[int] = (),
    ) -> "Curriculum":
        """Create the curriculum at the start of a run.

        Args:
            ladders: For each prompt, its id and the models of its references, weakest first. A prompt without references
                keeps a single rung: nothing is compared, so nothing is won.
            settings: Settings of the recipe.
            policy: Model name of the policy's own references.
            seed: Seed of the run.
            steps: Number of steps of the run.
            sources: Number of the source of each prompt, from 0; None if there is a single one.
            shares: Weight of each source.
            criteria: Number of scored criteria of each prompt; needed for a schedule of criteria.

        Raises:
            BadInputError: a ladder does not contain the reference that the settings name.
        """
        starts, num_rungs = [], []
        for id_, rungs in ladders:
            try:
                starts.append(starting_rung(rungs, settings, policy=policy) if rungs else 0)
            except ValueError as error:
                raise BadInputError(f"ladder {id_}: {error}") from None
            num_rungs.append(max(len(rungs), 1))
        return cls(
            num_rungs, starts, settings, seed=seed, steps=steps, sources=sources, shares=shares, criteria=criteria
        )

    def draw(self, step: int, count: int) -> list[PromptDraw]:
        """Draw the prompts of a step, each at most once, with their rungs.

        Prompts are drawn in epochs, in an order that is a function of (seed, epoch) and the source. If an epoch begins
        within a step, prompts already in the step are skipped until later in the epoch.

        Raises:
            StoppedError: fewer than `count` prompts are left because the others have retired.
        """
        retires = self.settings.top == "retire"
        left = (self.rungs < self.num_rungs).sum() if retires else len(self.rungs)
        if left < count:
            raise StoppedError(
                f"step {step}: data.per_step needs {count} prompts, but fewer are left (others have retired)"
            )
        drawn: dict[int, None] = {}
        for number in self._sources_at(step, count):
            drawn[self._next_of(number, drawn)] = None
        return [self.face(index, step) for index in drawn]

    def _sources_at(self, step: int, count: int) -> list[int]:
        """Return the source of each place in a step, a function of (seed, step)."""
        if len(self._pools) == 1:
            return [0] * count
        offset = np.random.default_rng([self._seed, _SOURCE]).random()
        places = (offset + _GOLDEN * ((step - 1) * count + np.arange(count))) % 1.0
        return np.minimum(np.searchsorted(self._bounds, places, side="right"), len(self._pools) - 1).tolist()

    def _next_of(self, number: int, drawn: Collection[int]) -> int:
        """Return the next prompt of a source that is not in the step yet and has not retired."""
        place = self._places[number]
        while True:
            if place[1] == len(self._orders[number]):
                place[:] = [place[0] + 1, 0]
                self._orders[number] = self._shuffled(place[0], number)
            index = int(self._orders[number][place[1]])
            place[1] += 1
            is_done = self.settings.top == "retire" and self.rungs[index] >= self.num_rungs[index]
            # An epoch may begin within a step: a prompt already in the step waits for its next turn.
            if index not in drawn and not is_done:
                return index

    def redraw(self, step: int, count: int, *, round_: int, drawn: Collection[int]) -> list[PromptDraw]:
        """Draw additional prompts for a step at random, excluding `drawn`; the epoch order is unaffected.

        Returns fewer than `count` if hardly any others are left.

        Args:
            step: Step of the run.
            count: Number of prompts to draw.
            round_: Number of the additional draw within the step, from 1.
            drawn: Indices of the prompts already in the step.
        """
        stream = np.random.default_rng([self._seed, _REDRAW, step, round_])
        extra: dict[int, None] = {}
        if len(self._pools) == 1:
            tried = stream.integers(len(self.rungs), size=_TRIES * count).tolist()
        else:
            chosen = np.searchsorted(self._bounds[:-1], stream.random(_TRIES * count), side="right").tolist()
            tried = [int(stream.choice(self._pools[number])) for number in chosen]
        for index in tried:
            is_done = self.settings.top == "retire" and self.rungs[index] >= self.num_rungs[index]
            if len(extra) < count and index not in drawn and not is_done:
                extra[index] = None
        return [self.face(index, step) for index in extra]

    def face(self, index: int, step: int) -> PromptDraw:
        """Return the draw of the prompt at `index` in a step."""
        rung = self._rung(index, step)
        is_own = self.settings.top == "self" and rung >= self.num_rungs[index]
        own_text = self._own_texts[index].tobytes().hex() if is_own else None
        return PromptDraw(index, rung, own_text, None if self.criteria is None else self.criteria.choose(index))

    def stage(self, outcomes: Sequence[PromptOutcome]) -> list[RungUpdate]:
        """Compute the updates from a step's outcomes without applying them. Only mode `dynamic` and a schedule of criteria
        have updates.
        """
        if self.settings.mode != "dynamic":
            return [
                RungUpdate(it.prompt_index, it.rung, it.rung, 0, criteria=it.criteria) for it in outcomes if it.criteria
            ]
        return [
            rung_update(
                visit,
                streak=int(self.streaks[visit.prompt_index]),
                num_rungs=int(self.num_rungs[visit.prompt_index]),
                settings=self.settings,
            )._replace(criteria=visit.criteria)
            for visit in outcomes
        ]

    def commit(self, updates: Sequence[RungUpdate]) -> list[RungUpdate]:
        """Apply staged updates to the state; return the promotions."""
        promotions = apply_updates(self.rungs, self.streaks, updates)
        for it in promotions:
            if it.own_text is not None:
                self._own_texts[it.prompt_index] = np.frombuffer(bytes.fromhex(it.own_text), dtype=np.uint8)
        if self.criteria is not None:
            for it in updates:
                self.criteria.record(it.prompt_index, it.criteria)
        return promotions

    @property
    def at_top(self) -> float | None:
        """The fraction of the prompts that are on their last rung or beyond; None if no prompt climbs."""
        climbs = self.settings.mode == "dynamic" and bool((self.num_rungs > 1).any())
        is_ladder = self.num_rungs > 1
        return float((self.rungs >= self.num_rungs - 1)[is_ladder].mean()) if climbs else None

    @property
    def criteria_passed(self) -> float | None:
        """The fraction of the criteria that their prompts' groups passed last; None without a schedule of criteria."""
        return None if self.criteria is None else self.criteria.passed

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint."""
        (folder / FILE).write_bytes(self.state())

    def load(self, folder: Path) -> None:
        """Load the state from a checkpoint.

        Raises:
            BadInputError: the checkpoint belongs to another set of ladders.
        """
        self.restore((folder / FILE).read_bytes(), source=folder)

    def state(self) -> bytes:
        """Serialize the state for a checkpoint."""
        file = BytesIO()
        criteria: dict[str, Any] = {} if self.criteria is None else {"criteria": self.criteria.means}
        np.savez(
            file,
            **criteria,
            rungs=self.rungs,
            streaks=self.streaks,
            place=np.asarray(self._places).reshape(-1),
            own_texts=self._own_texts,
        )
        return file.getvalue()

    def restore(self, state: bytes, *, source: Path) -> None:
        """Restore a serialized state; `source` is named in errors.

        Raises:
            BadInputError: it belongs to another set of ladders.
        """
        with np.load(BytesIO(state)) as saved:
            if len(saved["rungs"]) != len(self.rungs):
                raise BadInputError(
                    f"{source}: belongs to a run with {len(saved['rungs'])} ladders, not {len(self.rungs)}"
                )
            self.rungs, self.streaks = saved["rungs"], saved["streaks"]
            self._places = saved["place"].reshape(-1, 2).tolist()
            self._own_texts = saved["own_texts"]
            if self.criteria is not None:
                restore_means(self.criteria, saved["criteria"], source=str(source))
        self._orders = [self._shuffled(epoch, number) for number, (epoch, _) in enumerate(self._places)]

    def _rung(self, index: int, step: int) -> int:
        num_rungs = int(self.num_rungs[index])
        if self.settings.mode == "mixed":
            return mixed_rung(num_rungs, draw=self._uniform(step, index))
        if self.settings.mode == "staged":
            progress = (step - 1) / self._steps
            draw = self._uniform(step, index)
            return staged_rung(num_rungs, stages=self.settings.stages, progress=progress, draw=draw)
        return int(self.rungs[index])

    def _uniform(self, step: int, index: int) -> float:
        return np.random.default_rng([self._seed, _RUNG, step, index]).random()

    def _shuffled(self, epoch: int, number: int) -> np.ndarray:
        if len(self._pools) == 1:
            return np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.rungs))
        return np.random.default_rng([self._seed, _ORDER, epoch, number]).permutation(self._pools[number])
