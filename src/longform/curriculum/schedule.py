"""The curriculum of a run: the prompts of each step, the rung of each prompt, and the state in checkpoints.

The state is a rung and a streak per prompt and, with `top: self`, the hash of a text; the shuffled order is recomputed, not
stored. It stays small for a million prompts, and a step changes O(batch) of it.
"""

from collections.abc import Collection, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longform.curriculum.rules import (
    PromptOutcome,
    RungUpdate,
    apply_updates,
    mixed_rung,
    rung_update,
    staged_rung,
    starting_rung,
)
from longform.curriculum.settings import CurriculumSettings
from longform.records.errors import BadInputError, StoppedError

FILE = "curriculum.npz"
"""File name in a checkpoint."""
_ORDER, _RUNG, _REDRAW = 1, 2, 4  # streams of random draws
_TRIES = 20
"""Maximum number of draws per additional prompt; enough unless the step already contains nearly all prompts."""
_DIGEST_BYTES = 32


class PromptDraw(NamedTuple):
    """A prompt drawn for a step, and its rung."""

    prompt_index: int
    rung: int
    own_text: str | None = None
    """Hash of the policy's own earlier response that is the reference if the rung is above the ladder."""


class Curriculum:
    """State and rules of the curriculum of one run; `num_rungs` has the number of references of each prompt."""

    def __init__(
        self, num_rungs: Sequence[int], starts: Sequence[int], settings: CurriculumSettings, *, seed: int, steps: int
    ) -> None:
        self.settings = settings
        self.num_rungs = np.asarray(num_rungs, dtype=np.int32)
        self.rungs = np.asarray(starts, dtype=np.int32)
        self.streaks = np.zeros_like(self.rungs)
        # SHA-256 of the policy's own response that is the reference of a prompt above its ladder.
        self._own_texts = np.zeros((len(self.rungs) if settings.top == "self" else 0, _DIGEST_BYTES), dtype=np.uint8)
        self._seed, self._steps = seed, steps
        self._epoch, self._position = 0, 0
        self._order = self._shuffled(0)

    @classmethod
    def of(
        cls,
        ladders: Iterable[tuple[str, Sequence[str]]],
        settings: CurriculumSettings,
        *,
        policy: str,
        seed: int,
        steps: int,
    ) -> "Curriculum":
        """Create the curriculum at the start of a run.

        Args:
            ladders: For each prompt, its id and the models of its references, weakest first. A prompt without references
                keeps a single rung: nothing is compared, so nothing is won.
            settings: Settings of the recipe.
            policy: Model name of the policy's own references.
            seed: Seed of the run.
            steps: Number of steps of the run.

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
        return cls(num_rungs, starts, settings, seed=seed, steps=steps)

    def draw(self, step: int, count: int) -> list[PromptDraw]:
        """Draw the prompts of a step, each at most once, with their rungs.

        Prompts are drawn in epochs, in an order that is a function of (seed, epoch). If an epoch begins within a step,
        prompts already in the step are skipped until later in the epoch.

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
        while len(drawn) < count:
            if self._position == len(self._order):
                self._epoch, self._position = self._epoch + 1, 0
                self._order = self._shuffled(self._epoch)
            index = int(self._order[self._position])
            self._position += 1
            # An epoch may begin within a step: a prompt already in the step waits for its next turn.
            if index not in drawn and not (retires and self.rungs[index] >= self.num_rungs[index]):
                drawn[index] = None
        return [self.face(index, step) for index in drawn]

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
        for index in stream.integers(len(self.rungs), size=_TRIES * count).tolist():
            is_done = self.settings.top == "retire" and self.rungs[index] >= self.num_rungs[index]
            if len(extra) < count and index not in drawn and not is_done:
                extra[index] = None
        return [self.face(index, step) for index in extra]

    def face(self, index: int, step: int) -> PromptDraw:
        """Return the draw of the prompt at `index` in a step."""
        rung = self._rung(index, step)
        is_own = self.settings.top == "self" and rung >= self.num_rungs[index]
        return PromptDraw(index, rung, self._own_texts[index].tobytes().hex() if is_own else None)

    def stage(self, outcomes: Sequence[PromptOutcome]) -> list[RungUpdate]:
        """Compute the updates from a step's outcomes without applying them. Only mode `dynamic` has updates."""
        if self.settings.mode != "dynamic":
            return []
        return [
            rung_update(
                visit,
                streak=int(self.streaks[visit.prompt_index]),
                num_rungs=int(self.num_rungs[visit.prompt_index]),
                settings=self.settings,
            )
            for visit in outcomes
        ]

    def commit(self, updates: Sequence[RungUpdate]) -> list[RungUpdate]:
        """Apply staged updates to the state; return the promotions."""
        promotions = apply_updates(self.rungs, self.streaks, updates)
        for it in promotions:
            if it.own_text is not None:
                self._own_texts[it.prompt_index] = np.frombuffer(bytes.fromhex(it.own_text), dtype=np.uint8)
        return promotions

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
        np.savez(
            file,
            rungs=self.rungs,
            streaks=self.streaks,
            place=np.asarray([self._epoch, self._position]),
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
            self._epoch, self._position = (int(number) for number in saved["place"])
            self._own_texts = saved["own_texts"]
        self._order = self._shuffled(self._epoch)

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

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.rungs))
