"""The curriculum of a run: which prompts a step draws, which rung each faces, and the state that a checkpoint carries.

The state is three numbers for each prompt at most (rung, streak, and a place in the shuffled order that is not stored but
recomputed), and with `top: self` the hash of a text, so a million prompts stay small; what a step changes is O(batch).
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
"""Of a checkpoint."""
_ORDER, _RUNG, _REDRAW = 1, 2, 4  # streams of random draws
_TRIES = 20
"""Draws for each further prompt that a step asks for: enough unless nearly all prompts stand in the step."""
_DIGEST_BYTES = 32


class PromptDraw(NamedTuple):
    """A prompt drawn for a step and the rung it faces there."""

    prompt_index: int
    rung: int
    own_text: str | None = None
    """Hash of the policy's own earlier response that is faced, where the rung lies beyond the references."""


class Curriculum:
    """State and rules together, for one run over `num_rungs` ladders."""

    def __init__(
        self, num_rungs: Sequence[int], starts: Sequence[int], settings: CurriculumSettings, *, seed: int, steps: int
    ) -> None:
        self.settings = settings
        self.num_rungs = np.asarray(num_rungs, dtype=np.int32)
        self.rungs = np.asarray(starts, dtype=np.int32)
        self.streaks = np.zeros_like(self.rungs)
        # SHA-256 of the own response that a prompt beyond its references faces.
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
        """The curriculum at the start of a run.

        Args:
            ladders: of each prompt its id and the models of its references, weakest first. A prompt without any stands on
                one rung for good: nothing is compared there, so nothing is won.
            settings: of the recipe.
            policy: the name that the policy's own references carry.
            seed: of the run.
            steps: of the run.

        Raises:
            BadInputError: a ladder lacks the reference that the settings ask for.
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
        """The prompts of a step, each at most once, with the rungs they face.

        Prompts come in passes, in an order that is a function of (seed, pass). Where a pass begins within a step, a prompt
        that the step already holds is passed over until the next one.

        Raises:
            StoppedError: fewer than `count` prompts are left (all others have retired).
        """
        retires = self.settings.top == "retire"
        left = (self.rungs < self.num_rungs).sum() if retires else len(self.rungs)
        if left < count:
            raise StoppedError(f"step {step}: data.per_step asks for {count} prompts, and fewer are left to draw")
        drawn: dict[int, None] = {}
        while len(drawn) < count:
            if self._position == len(self._order):
                self._epoch, self._position = self._epoch + 1, 0
                self._order = self._shuffled(self._epoch)
            index = int(self._order[self._position])
            self._position += 1
            # A pass may begin within a step: a prompt that the step already holds waits for its next turn.
            if index not in drawn and not (retires and self.rungs[index] >= self.num_rungs[index]):
                drawn[index] = None
        return [self.face(index, step) for index in drawn]

    def redraw(self, step: int, count: int, *, round_: int, drawn: Collection[int]) -> list[PromptDraw]:
        """Further prompts of a step, none of `drawn`, at random: the order of the passes stays as it is.

        Fewer than `count` where hardly any others are left.

        Args:
            step: of the run.
            count: prompts wanted.
            round_: numbers the further draws of a step, from 1.
            drawn: rows of the prompts that the step holds already.
        """
        stream = np.random.default_rng([self._seed, _REDRAW, step, round_])
        found: dict[int, None] = {}
        for index in stream.integers(len(self.rungs), size=_TRIES * count).tolist():
            is_done = self.settings.top == "retire" and self.rungs[index] >= self.num_rungs[index]
            if len(found) < count and index not in drawn and not is_done:
                found[index] = None
        return [self.face(index, step) for index in found]

    def face(self, index: int, step: int) -> PromptDraw:
        """What the prompt at `index` faces in a step."""
        rung = self._rung(index, step)
        is_own = self.settings.top == "self" and rung >= self.num_rungs[index]
        return PromptDraw(index, rung, self._own_texts[index].tobytes().hex() if is_own else None)

    def stage(self, visits: Sequence[PromptOutcome]) -> list[RungUpdate]:
        """What the visits of a step would change. Only mode `dynamic` ever changes anything."""
        if self.settings.mode != "dynamic":
            return []
        return [
            rung_update(
                visit,
                streak=int(self.streaks[visit.prompt_index]),
                num_rungs=int(self.num_rungs[visit.prompt_index]),
                settings=self.settings,
            )
            for visit in visits
        ]

    def commit(self, climbs: Sequence[RungUpdate]) -> list[RungUpdate]:
        """Write staged climbs into the state; returns the promotions."""
        promotions = apply_updates(self.rungs, self.streaks, climbs)
        for it in promotions:
            if it.own_text is not None:
                self._own_texts[it.prompt_index] = np.frombuffer(bytes.fromhex(it.own_text), dtype=np.uint8)
        return promotions

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint."""
        (folder / FILE).write_bytes(self.state())

    def load(self, folder: Path) -> None:
        """Take the state of a checkpoint.

        Raises:
            BadInputError: the checkpoint belongs to another set of ladders.
        """
        self.restore((folder / FILE).read_bytes(), source=folder)

    def state(self) -> bytes:
        """The state, as it stands in a checkpoint."""
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
        """Take a state; `source` is where it came from, for the error.

        Raises:
            BadInputError: it belongs to another set of ladders.
        """
        with np.load(BytesIO(state)) as saved:
            if len(saved["rungs"]) != len(self.rungs):
                raise BadInputError(f"{source}: was made with {len(saved['rungs'])} ladders, not {len(self.rungs)}")
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
