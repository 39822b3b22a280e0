"""The training data of a judge model: labelled pairs, and verdicts with reasons.

Each pair gives two questions, one for each order, in the wording of pairwise judges (`judging.pairwise.ask_pairwise`), so
the better text is equally often in either position.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, field_validator

from longform.judging.answers import Letter, fence_tag, parse_verdict
from longform.judging.pairwise import OUTCOMES, WINNERS, Position, ask_pairwise, in_order, winner_of
from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.database import text_hash
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.recorded_calls import read_calls
from longform.records.run_directory import RunDirectory
from longform.records.schemas import (
    ORDERS,
    Criteria,
    Message,
    Order,
    PairWithLabels,
    Prompt,
    PromptRow,
    TrainingRow,
    Winner,
)
from longform.rewards.settings import PairwiseSettings
from longform.text.structure import parse_response
from longform.wording import Wording

NO_LABEL, AGAINST_LABEL = "pairs without a label", "reasons against the label"
"""Reasons why a row is left out."""
_SECRET = b"judge-model"
"""Secret of the fence tags. It may be public, because the texts of training pairs are not written against it."""


class LabelledPair(PairWithLabels):
    """A pair with its label and, optionally, reasons for it."""

    id: str = Field(min_length=1)
    prompt: str | list[Message] = Field(min_length=1)
    criteria: Criteria | None = None
    reasons: dict[Order, str] | None = None
    """By order, the answer of a judge that read the texts in that order: reasons, with or without a final verdict."""

    @field_validator("response_a", "response_b")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the text is empty")
        return text

    @property
    def request(self) -> PromptRow:
        """The prompt, as shown to a judge."""
        return PromptRow(id=self.id, prompt=self.prompt, criteria=self.criteria)


class PairLabels(NamedTuple):
    """Labelled pairs, and the number of pairs that were left out by cause."""

    pairs: list[LabelledPair]
    """Each with its label."""
    left_out: Counter[str]


def read_labelled_pairs(paths: Sequence[Path], *, judge: str | None) -> PairLabels:
    """Read the pairs that have a label: by people, else the verdict of `judge` if both orders agree.

    Raises:
        BadInputError: a file has an invalid row, two pairs share an id, or no pair has a label.
    """
    pairs: list[LabelledPair] = []
    left_out: Counter[str] = Counter()
    for pair in read_all(paths, LabelledPair):
        label = label_of(pair, judge)
        if label is None:
            left_out[NO_LABEL] += 1
        else:
            pairs.append(pair.model_copy(update={"label": label}))
    if not pairs:
        hint = "" if judge else "; set `judge` to use the verdicts of a judge as labels"
        raise BadInputError(f"pairs: no pair of {', '.join(map(str, paths))} has a label{hint}")
    return PairLabels(pairs, left_out)


def label_of(pair: LabelledPair, judge: str | None) -> Winner | None:
    """The label of a pair; without one, the verdict of `judge` if it is the same in both orders."""
    if pair.label is not None or judge is None:
        return pair.label
    verdicts: Mapping[Order, Winner | None] = (pair.verdicts or {}).get(judge) or {}
    return verdicts.get("ab") if verdicts.get("ab") == verdicts.get("ba") else None


def letter_of(winner: Winner, order: Order) -> Letter:
    """The letter with which a judge that reads the texts in `order` names the winner; the inverse of `winner_of`."""
    letters: tuple[Letter, ...] = ("A", "B", "C")
    return next(letter for letter in letters if winner_of(letter, order) == winner)


def ask_about(pair: LabelledPair, order: Order, *, wording: Wording) -> str:
    """The question of a pairwise judge about a pair in one order."""
    text_a, text_b = in_order(pair.response_a, pair.response_b, order)
    return ask_pairwise(pair.request, text_a=text_a, text_b=text_b, tag=fence_tag(_SECRET, pair.id, 0), wording=wording)


def questions(pairs: Sequence[LabelledPair], *, wording: Wording) -> list[Prompt]:
    """The prompts of reinforcement learning: each pair in both orders, with the correct letter in `meta.answer`."""
    return [
        Prompt(
            id=f"{pair.id}/{order}",
            prompt=ask_about(pair, order, wording=wording),
            meta={"answer": letter_of(pair.label, order)},
        )
        for pair in pairs
        for order in ORDERS
        if pair.label is not None
    ]


def training_rows_of_pairs(
    pairs: Sequence[LabelledPair], left_out: Counter[str], *, wording: Wording
) -> list[TrainingRow]:
    """The rows for fine-tuning from the reasons of labelled pairs.

    Reasons without a verdict get that of the label. Reasons with another verdict are left out and counted.
    """
    rows = []
    for pair in pairs:
        for order, reason in (pair.reasons or {}).items():
            assert pair.label is not None, "of read_labelled_pairs"
            letter, verdict = letter_of(pair.label, order), parse_verdict(reason)
            if verdict not in (None, letter):
                left_out[AGAINST_LABEL] += 1
                continue
            answer = reason.strip() if verdict is not None else f"{reason.strip()}\n\n[[{letter}]]"
            rows.append(_row(ask_about(pair, order, wording=wording), answer))
    return rows


class RecordedVerdict(NamedTuple):
    """A recorded verdict of a run, with the judge's answer."""

    request: str
    """The prompt as one text."""
    pair: LabelledPair
    """`response_a` is the policy's, `response_b` its reference."""
    order: Order
    answer: str


def read_run_verdicts(path: Path) -> Iterator[RecordedVerdict]:
    """The verdicts of a run's pairwise reward that agree with a rollout's outcome, each question once.

    Three kinds of answers are skipped: votes of a panel's minority, ties of a judge with `position: both` (whose order is
    not recorded), and answers without a verdict in brackets.

    Raises:
        BadInputError: the folder is not a run, or the run has no pairwise reward.
    """
    with RunDirectory.read(path) as run:
        recipe = load_stored_recipe(run.recipe_path, Recipe)
        reward = next((it for it in recipe.rewards if isinstance(it, PairwiseSettings)), None)
        if reward is None:
            raise BadInputError(f"runs: {path}: the run has no pairwise reward, so it has no verdicts to learn from")
        prompts = {it.id: it for it in read_recorded_prompts(run, recipe.data)}
        answers = {
            it.request_hash: it.text
            for it in read_calls(run.database_path, outcome="ok")
            if it.endpoint in reward.judges
        }
        seen: set[tuple[str, str, str, Order]] = set()
        for rollout in run.database.rollouts():
            response = parse_response(rollout.text, recipe.generation.think).answer
            if rollout.outcome not in OUTCOMES or not response or not rollout.reference.strip():
                continue
            prompt, winner = prompts[rollout.prompt_id], WINNERS[rollout.outcome]
            pair = LabelledPair(
                id=prompt.id,
                prompt=prompt.prompt if isinstance(prompt.prompt, str) else list(prompt.prompt),
                criteria=prompt.criteria,
                response_a=response,
                response_b=rollout.reference,
                label=winner,
            )
            for call in rollout.calls:
                letter = parse_verdict(answers.get(call, ""))
                order = None if letter is None else order_of(letter, winner, position=reward.position)
                if order is None:
                    continue
                key = (prompt.id, text_hash(response), text_hash(rollout.reference), order)
                if key not in seen:
                    seen.add(key)
                    yield RecordedVerdict(prompt.request, pair, order, answers[call].strip())


def order_of(letter: Letter, winner: Winner, *, position: Position) -> Order | None:
    """The order in which a judge read the policy's response (a) and its reference (b); None if it cannot be inferred.

    Args:
        letter: the judge's verdict.
        winner: the rollout's outcome: a for the policy's response.
        position: the reward's setting for the policy's response.
    """
    possible: tuple[Order, ...] = {"first": ("ab",), "second": ("ba",), "both": ORDERS}[position]
    found: list[Order] = [order for order in possible if winner_of(letter, order) == winner]
    return found[0] if len(found) == 1 else None


def training_rows_of_runs(verdicts: Sequence[RecordedVerdict], *, wording: Wording) -> list[TrainingRow]:
    """The rows for fine-tuning from recorded verdicts of runs."""
    return [_row(ask_about(it.pair, it.order, wording=wording), it.answer) for it in verdicts]


def _row(question: str, answer: str) -> TrainingRow:
    turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return TrainingRow(messages=turns)
