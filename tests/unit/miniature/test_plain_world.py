"""The world of the quickstart is fixed to the last digit: prompts, texts, grades, verdicts and lessons."""

import hashlib
import json

import pytest

from longform.miniature.judge import EXAMINER, JUDGE, grade, measure, pairwise_verdict, pointwise_score
from longform.miniature.policy import sft_rows
from longform.miniature.world import WIDE_RANGES, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story

HASHES = {
    1: (
        "b4cf657be7807258",
        "2ea886c0c988788d",
        "5522535fb801be4f",
        "4b443be52cd508e3",
        "d1ebe66a40e04acb",
        "9b375097323016e7",
    ),
    2: (
        "dcb06a3f5a25bb8f",
        "e091a67d19b05a70",
        "7415be2fff9138c2",
        "1997b0ad4a72e304",
        "192d8b98b458a613",
        "5b6711496eea506d",
    ),
    7: (
        "d5e84c0a91ebb5e5",
        "7eb329f568386a08",
        "2bb08b89ff67dcd1",
        "e6ae5c12cd83a24b",
        "f33e2379093fa121",
        "17b034bfc4e78acc",
    ),
    100002: (
        "f32ed5f84be0797a",
        "89ccfa4d7db25091",
        "d11d6dc373ee0414",
        "526aaf83f21bca42",
        "05f0112343d9fdc0",
        "efb501ecf804229d",
    ),
}
"""By seed: hashes of prompts, texts, grades, scores, verdicts and lessons, as before there were worlds for studies."""


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("seed", HASHES)
def test_the_plain_world_is_unchanged_to_the_last_digit(seed):
    rows = [
        *prompts(seed=seed, split="train", count=60),
        *prompts(seed=seed, split="held-out", count=30),
        *prompts(seed=seed, split="train", count=30, ranges=WIDE_RANGES),
    ]
    requests = [parse_request(row.request) for row in rows]
    texts = {level: [write_story(it, level=level, sample=seed % 5) for it in requests] for level in LEVELS}
    pairs = {level: list(zip(requests, texts[level], strict=True)) for level in LEVELS}
    grades = [
        [repr(grade(measure(*pair), style)) for pair in pairs[level]] for level in LEVELS for style in (JUDGE, EXAMINER)
    ]
    scores = [
        repr(pointwise_score(*pair, JUDGE, dimension=dimension))
        for level in LEVELS
        for pair in pairs[level]
        for dimension in ("style", "depth")
    ]
    verdicts = [
        pairwise_verdict(request, first, second, style)
        for level, style in (("novice", JUDGE), ("master", EXAMINER))
        for request, first, second in zip(requests, texts[level], texts["apprentice"], strict=True)
    ]
    values = ([row.model_dump(mode="json") for row in rows], texts, grades, scores, verdicts)
    assert (*map(_hash, values), _hash(sft_rows(seed=seed, count=60))) == HASHES[seed]
