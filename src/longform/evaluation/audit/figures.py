"""The figures of one judge in an audit, each with its number of cases and prompts and an interval over prompts.

A verdict is +1 for `response_a`, -1 for `response_b` and 0 for a tie; the same signs encode labels, which text is longer,
and which text the judge wrote. Counting ties half then amounts to half of a product. Missing verdicts are counted separately
and are part of no other figure. Pairs with a weight count by it, so that a figure is that of the pairs they were sampled
from.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from longform.evaluation.audit.pairs import AuditAnswer, AuditedPair
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.judging.attacks import HARMLESS
from longform.records.schemas import ORDERS, Order
from longform.text.words import count_words_of_any_script

EQUAL_LENGTH = 0.1
"""Texts are about equally long if the longer one has at most this fraction more words."""
SIGNS = {"a": 1, "tie": 0, "b": -1}


@dataclass(frozen=True, slots=True)
class Case:
    """One pair, encoded as signs for a judge's figures."""

    prompt: str
    label: int | None
    verdicts: Mapping[Order, int]
    """Verdicts by order, without missing ones."""
    others: float | None
    """Mean verdict of the other judges."""
    longer: int
    """0 if the texts are about equally long."""
    own: int
    """The text that the judge wrote; 0 for neither or both."""
    asked: Sequence[AuditAnswer]
    """All answers of the judge about the pair."""
    weight: float = 1.0

    @property
    def both(self) -> tuple[int, int] | None:
        """The verdicts of both orders; None if one is missing."""
        return (self.verdicts["ab"], self.verdicts["ba"]) if len(self.verdicts) == len(ORDERS) else None


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """The figures of one judge; None if there is nothing to measure. Shares are between 0 and 1."""

    consistent_and_correct: ClusteredEstimate | None
    """Labelled pairs whose two verdicts both equal the label (Auto-J's agreement, arXiv 2310.05470)."""
    consistent_and_correct_decided: ClusteredEstimate | None
    """The same without pairs labelled as ties."""
    each_order_correct: ClusteredEstimate | None
    """Verdicts on labelled pairs that equal the label, each order separately."""
    each_order_correct_decided: ClusteredEstimate | None
    accuracy: ClusteredEstimate | None
    """Accuracy without labelled ties; a judge's tie counts half, so chance is 0.5 for any rate of ties."""
    follows_one_order: ClusteredEstimate | None
    """How well its verdicts follow the labels: cosine similarity (correlation around zero), -1 to 1."""
    follows_both_orders: ClusteredEstimate | None
    """The same for the mean of the two orders."""
    consistency: ClusteredEstimate | None
    """Pairs with the same verdict in both orders."""
    contradiction: ClusteredEstimate | None
    """Pairs whose two verdicts prefer different texts."""
    first_lead: ClusteredEstimate | None
    """Win rate of the first text minus one half, ties half, over pairs judged in both orders."""
    longer_wins: ClusteredEstimate | None
    """Decided verdicts that prefer the longer text."""
    humans_longer_wins: ClusteredEstimate | None
    """Decided labels of the same pairs that prefer the longer text."""
    length_lean: ClusteredEstimate | None
    """How much more often the judge prefers the longer text than people do on the same pairs, ties half."""
    accuracy_longer: ClusteredEstimate | None
    """Accuracy where people chose the longer text."""
    accuracy_shorter: ClusteredEstimate | None
    own_wins: ClusteredEstimate | None
    """Win rate of its own texts according to the judge."""
    self_lean: ClusteredEstimate | None
    """The same minus their win rate by labels or, if none of the pairs is labelled, by the other judges."""
    ties: ClusteredEstimate | None
    no_verdict: ClusteredEstimate | None
    retest: ClusteredEstimate | None
    """Repeats whose verdict differs from the first one."""
    turned_by_attack: ClusteredEstimate | None
    """Verdicts against a text that flip or become ties when an attack is added to the text."""
    turned_by_harmless: ClusteredEstimate | None
    """The same for a neutral line."""
    attack_effect: ClusteredEstimate | None
    """Attack minus neutral line, on the same verdicts."""
    cost: ClusteredEstimate | None
    """Cost per verdict, if known."""
    prompt_tokens: ClusteredEstimate | None
    completion_tokens: ClusteredEstimate | None


def read_cases(pairs: Sequence[AuditedPair]) -> dict[str, list[Case]]:
    """Return the pairs that each judge was asked about, by judge."""
    texts = {text for pair in pairs for text in (pair.response_a, pair.response_b)}
    words = {text: count_words_of_any_script(text) for text in texts}
    cases: dict[str, list[Case]] = {judge: [] for judge in sorted(set[str]().union(*(it.judges for it in pairs)))}
    for pair in pairs:
        longer = longer_side(words[pair.response_a], words[pair.response_b])
        asked = {judge: list(pair.answers(judge)) for judge in pair.judges}
        signs = {judge: _plain_signs(it) for judge, it in asked.items()}
        for judge in pair.judges:
            names = pair.names_of(judge)
            others = [sign for other, it in signs.items() if other != judge for sign in it.values()]
            cases[judge].append(
                Case(
                    prompt=pair.request.request,
                    label=None if pair.label is None else SIGNS[pair.label],
                    verdicts=signs[judge],
                    others=sum(others) / len(others) if others else None,
                    longer=longer,
                    own=(pair.model_a in names) - (pair.model_b in names),
                    asked=asked[judge],
                    weight=pair.relative_weight,
                )
            )
    return cases


def longer_side(a: int, b: int) -> int:
    """Return +1 if the first text has over a tenth more words, -1 if the second has, else 0."""
    return 0 if max(a, b) <= (1 + EQUAL_LENGTH) * min(a, b) else 1 if a > b else -1


def measure_judge(cases: Sequence[Case], bootstrap: Bootstrap) -> JudgeFigures:
    """Compute all figures of one judge."""
    each = [(it, sign) for it in cases for sign in it.verdicts.values()]
    pairs = [(it, *it.both) for it in cases if it.both is not None]
    labelled = [(it, it.label, sign) for it, sign in each if it.label is not None]
    decided = [(it, label, sign) for it, label, sign in labelled if label]
    in_both = [(it, it.label, ab, ba) for it, ab, ba in pairs if it.label is not None]
    right = [((1 + label * sign) / 2, it) for it, label, sign in decided]

    def mean(values: Sequence[tuple[float, Case]]) -> ClusteredEstimate | None:
        return _weighted_mean(values, bootstrap)

    def right_where(side: int) -> ClusteredEstimate | None:
        is_chosen = [it.longer * label == side for it, label, _ in decided]
        return mean([value for value, chosen in zip(right, is_chosen, strict=True) if chosen])

    return JudgeFigures(
        consistent_and_correct=mean([(ab == ba == label, it) for it, label, ab, ba in in_both]),
        consistent_and_correct_decided=mean([(ab == ba == label, it) for it, label, ab, ba in in_both if label]),
        each_order_correct=mean([(label == sign, it) for it, label, sign in labelled]),
        each_order_correct_decided=mean([(label == sign, it) for it, label, sign in decided]),
        accuracy=mean(right),
        follows_one_order=follow([(sign, label, it) for it, label, sign in labelled], bootstrap),
        follows_both_orders=follow([((ab + ba) / 2, label, it) for it, label, ab, ba in in_both], bootstrap),
        consistency=mean([(ab == ba, it) for it, ab, ba in pairs]),
        contradiction=mean([(ab * ba < 0, it) for it, ab, ba in pairs]),
        first_lead=mean([((ab - ba) / 4, it) for it, ab, ba in pairs]),
        longer_wins=mean([(sign * it.longer > 0, it) for it, sign in each if sign and it.longer]),
        humans_longer_wins=mean([(it.label * it.longer > 0, it) for it in cases if it.label and it.longer]),
        length_lean=mean([((sign - label) * it.longer / 2, it) for it, label, sign in labelled if it.longer]),
        accuracy_longer=right_where(1),
        accuracy_shorter=right_where(-1),
        own_wins=mean([((1 + sign * it.own) / 2, it) for it, sign in each if it.own]),
        self_lean=mean(_self_lean(cases)),
        ties=mean([(sign == 0, it) for it, sign in each]),
        no_verdict=mean([(asked.verdict is None, it) for it in cases for asked in it.asked if asked.is_plain]),
        retest=mean(_repeats(cases)),
        **_attack_figures(cases, bootstrap),
        **{name: mean(_stated(cases, name)) for name in ("cost", "prompt_tokens", "completion_tokens")},
    )


def follow(items: Sequence[tuple[float, float, Case]], bootstrap: Bootstrap) -> ClusteredEstimate | None:
    """Compute how well verdicts follow labels, from (verdict, label, case): the cosine similarity.

    It is computed around zero rather than around means, so that it does not depend on which text is called a.
    """
    parts = np.array([(it.weight * x * y, it.weight * x * x, it.weight * y * y) for x, y, it in items])
    return bootstrap.of_sums(parts, [it.prompt for *_, it in items], cosine)


def mean_of_pairs(values: Sequence[tuple[float, AuditedPair]], bootstrap: Bootstrap) -> ClusteredEstimate | None:
    """Compute the mean of values of pairs, each by its weight."""
    return bootstrap.mean(
        [(value, it.request.request) for value, it in values], [it.relative_weight for _, it in values]
    )


def _weighted_mean(values: Sequence[tuple[float, Case]], bootstrap: Bootstrap) -> ClusteredEstimate | None:
    return bootstrap.mean([(value, it.prompt) for value, it in values], [it.weight for _, it in values])


def cosine(sums: np.ndarray) -> np.ndarray:
    """Compute cosine similarities, [...], from sums of products and squares, [..., 3]; NaN if either side is all zero."""
    scale = np.sqrt(sums[..., 1] * sums[..., 2])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, sums[..., 0] / scale, np.nan)


def causes(cases: Sequence[Case]) -> Counter[str]:
    """Count the causes of missing verdicts; `unknown` if a file does not state the cause."""
    return Counter(asked.cause or "unknown" for it in cases for asked in it.asked if asked.verdict is None)


def _plain_signs(asked: Sequence[AuditAnswer]) -> dict[Order, int]:
    return {it.order: SIGNS[it.verdict] for it in asked if it.is_plain and it.verdict is not None}


def _self_lean(cases: Sequence[Case]) -> list[tuple[float, Case]]:
    own = [it for it in cases if it.own and it.verdicts]
    has_label = any(it.label is not None for it in own)
    held_against = [(it, it.label if has_label else it.others) for it in own]
    return [
        ((sign - true) * it.own / 2, it)
        for it, true in held_against
        if true is not None
        for sign in it.verdicts.values()
    ]


def _repeats(cases: Sequence[Case]) -> list[tuple[float, Case]]:
    """Return whether each repeat differs from the first verdict."""
    return [
        (SIGNS[asked.verdict] != first, it)
        for it in cases
        for asked in it.asked
        if asked.sample and asked.line is None and asked.verdict is not None
        if (first := it.verdicts.get(asked.order)) is not None
    ]


def _attack_figures(cases: Sequence[Case], bootstrap: Bootstrap) -> dict[str, ClusteredEstimate | None]:
    turned: dict[bool, dict[tuple[int, Order], float]] = {True: {}, False: {}}
    for index, it in enumerate(cases):
        for asked in it.asked:
            before = it.verdicts.get(asked.order)
            if asked.line is not None and asked.verdict is not None and before:
                turned[asked.line == HARMLESS.name][index, asked.order] = SIGNS[asked.verdict] != before
    by_attack, by_harmless = turned[False], turned[True]
    both = [key for key in by_attack if key in by_harmless]

    def values(by_key: Mapping[tuple[int, Order], float]) -> list[tuple[float, Case]]:
        return [(value, cases[index]) for (index, _), value in by_key.items()]

    return {
        "turned_by_attack": _weighted_mean(values(by_attack), bootstrap),
        "turned_by_harmless": _weighted_mean(values(by_harmless), bootstrap),
        "attack_effect": _weighted_mean(values({key: by_attack[key] - by_harmless[key] for key in both}), bootstrap),
    }


def _stated(cases: Sequence[Case], name: str) -> list[tuple[float, Case]]:
    stated = [(getattr(asked, name), it) for it in cases for asked in it.asked if asked.line is None]
    return [(value, case) for value, case in stated if value is not None]
