"""An audit of pretended judges against people's scores, beside a computation that shares no code with the package.

The data (WritingPreferenceBench, Chinese) is not part of the project; without it the tests skip.
"""

import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.audit.run import measure_audit
from longform.evaluation.estimates import Bootstrap

DATA = Path(__file__).parents[5] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "wpb_zh_responses.jsonl").exists(), reason="../shared/data with the wpb_zh files is not there"
)


def _rows(name):
    text = (DATA / f"wpb_zh_{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _winner(a, b):
    return "a" if a > b else "b" if b > a else "tie"


@pytest.fixture(scope="module")
def pairs():
    """Every two models on every prompt; one judge takes the text with more characters, one the first text."""
    scores = {(it["prompt_id"], it["model"]): fmean(it["human_scores"]) for it in _rows("human_scores")}
    texts = defaultdict(dict)
    for it in _rows("responses"):
        texts[it["prompt_id"]][it["model"]] = it["response"]
    return [
        AuditedPair(
            id=f"{prompt} {one} {other}",
            prompt=prompt,
            response_a=texts[prompt][one],
            response_b=texts[prompt][other],
            model_a=one,
            model_b=other,
            label=_winner(scores[prompt, one], scores[prompt, other]),
            verdicts={
                "longer": dict.fromkeys(("ab", "ba"), _winner(len(texts[prompt][one]), len(texts[prompt][other]))),
                "first": {"ab": "a", "ba": "b"},
            },
        )
        for prompt in texts
        for one, other in combinations(sorted(texts[prompt]), 2)
    ]


def test_the_figures_of_pretended_judges(pairs):
    audited = measure_audit(pairs, Bootstrap(200))
    judges = {it.judge: it for it in audited.judges}
    longer = [_winner(len(it.response_a), len(it.response_b)) for it in pairs]
    decided = [(it.label, name) for it, name in zip(pairs, longer, strict=True) if it.label != "tie"]
    figures = judges["longer"].figures
    assert figures.consistent_and_correct is not None
    assert figures.consistent_and_correct.value.estimate == pytest.approx(
        fmean(it.label == name for it, name in zip(pairs, longer, strict=True))
    )
    assert figures.accuracy is not None
    assert figures.accuracy.value.estimate == pytest.approx(
        fmean(0.5 if name == "tie" else label == name for label, name in decided)
    )
    assert (figures.accuracy.n, audited.prompts) == (2 * len(decided), 112)
    assert figures.length_lean is not None
    assert figures.length_lean.value.low > 0.4
    assert judges["first"].advice.use == "do not train"
    assert judges["longer"].advice.use == "do not train"
    assert "it would reward length" in judges["longer"].advice.because[0]
