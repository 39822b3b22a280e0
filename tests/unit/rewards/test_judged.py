"""Rewards against a judge that answers by a script over HTTP."""

import asyncio
import json

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.answers import read_fences
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, Prompt
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import PairwiseSettings, PointwiseSettings
from longform.text.structure import parse_response

PROMPT = Prompt(id="p", prompt="Write.")


def _score(servers, settings, response="mine"):
    """What a reward makes of a response, with the judges j0, j1, ... behind the servers."""
    return _scores(servers, settings, [PROMPT], response=response)[0]


def _scores(servers, settings, prompts, *, response="mine", seed=0):
    async def score():
        endpoints = {
            f"j{place}": Endpoint(
                f"j{place}",
                ModelSpec(base_url=server.url, model=f"j{place}", retries=0),
                call_log=MemoryCallLog(),
                backoff_seconds=0.0,
            )
            for place, server in enumerate(servers)
        }
        rewards = build_rewards([settings], endpoints, secret=b"secret", seed=seed)
        try:
            results = await asyncio.gather(
                *(
                    rewards.score(it, response=parse_response(response, "off"), reference="theirs", step=1)
                    for it in prompts
                )
            )
            return [it[settings.kind] for it in results]
        finally:
            for endpoint in endpoints.values():
                await endpoint.close()

    return asyncio.run(score())


def _pairwise(judges=1, **settings):
    names = [f"j{place}" for place in range(judges)]
    return PairwiseSettings(kind="pairwise", judge=names, **settings)


@pytest.mark.parametrize(
    ("values", "letter", "score"),
    [
        ("paper", "B", 1.0),
        ("paper", "C", 0.5),
        ("paper", "A", 0.0),
        ("released", "B", 1.1),
        ("released", "C", 0.55),
        ("released", "A", 0.1),
    ],
)
def test_an_outcome_is_worth_what_the_named_values_say(serve, values, letter, score):
    server = serve(lambda request, number: f"[[{letter}]]")
    assert _score([server], _pairwise(values=values)).score == pytest.approx(score)


def test_silence_is_no_score(serve):
    rewarded = _score([serve(lambda request, number: "I cannot say.")], _pairwise())
    assert (rewarded.score, rewarded.outcome, rewarded.cause) == (None, None, "no_verdict")


def test_the_majority_of_a_panel_decides_and_its_disagreement_is_told(serve):
    servers = [serve(lambda request, number, letter=letter: f"[[{letter}]]") for letter in "BBA"]
    rewarded = _score(servers, _pairwise(judges=3))
    assert (rewarded.score, rewarded.outcome) == (1.0, "win")
    assert rewarded.disagreement == pytest.approx(1 / 3)
    assert rewarded.missing_votes == 0
    assert len(rewarded.calls) == 3


def test_a_judge_that_is_missing_from_a_panel_is_told(serve):
    letters = ("[[B]]", "[[B]]", "I cannot say.")
    rewarded = _score([serve(lambda request, number, said=said: said) for said in letters], _pairwise(judges=3))
    assert (rewarded.outcome, rewarded.missing_votes) == ("win", pytest.approx(1 / 3))


def test_the_mean_of_a_panel_keeps_how_far_it_was_torn(serve):
    servers = [serve(lambda request, number, letter=letter: f"[[{letter}]]") for letter in "BBA"]
    rewarded = _score(servers, _pairwise(judges=3, combine="mean"))
    assert (rewarded.score, rewarded.outcome) == (pytest.approx(2 / 3), "win")


def test_a_repeated_sample_asks_the_same_judge_anew(serve):
    server = serve(lambda request, number: "[[B]]" if number == 1 else "[[A]]")
    rewarded = _score([server], _pairwise(samples=3, combine="mean"))
    assert len(server.requests) == 3
    assert rewarded.score == pytest.approx(1 / 3)


def test_a_recheck_measures_the_judge_and_does_not_change_the_verdict(serve):
    server = serve(lambda request, number: "[[B]]" if number == 1 else "[[A]]")
    rewarded = _score([server], _pairwise(recheck=1.0))
    assert (rewarded.score, rewarded.consistent) == (1.0, False)
    steady = _score([serve(lambda request, number: "[[B]]")], _pairwise(recheck=1.0))
    assert steady.consistent is True


def test_about_the_asked_share_is_rechecked_and_the_same_ones_for_a_seed(serve):
    prompts = [Prompt(id=str(n), prompt=f"Write {n}.") for n in range(60)]
    server = serve(lambda request, number: "[[B]]")
    chosen = [it.consistent for it in _scores([server], _pairwise(recheck=0.25), prompts)]
    assert 5 <= chosen.count(True) <= 28
    assert chosen == [it.consistent for it in _scores([server], _pairwise(recheck=0.25), prompts)]
    assert chosen != [it.consistent for it in _scores([server], _pairwise(recheck=0.25), prompts, seed=1)]


def test_a_grade_is_brought_to_zero_and_one_and_has_no_outcome(serve):
    def grade(request, number):
        assert "TEXT" in read_fences(request["messages"][-1]["content"])
        names = ("relevance", "coherence", "clarity", "depth", "style", "originality")
        return '{"scores": {' + ", ".join(f'"{name}": 5.5' for name in names) + "}}"

    rewarded = _score([serve(grade)], PointwiseSettings(kind="pointwise", judge="j0"))
    assert (rewarded.score, rewarded.outcome) == (0.5, None)


def test_a_recheck_of_a_panel_compares_a_judge_with_itself_and_not_with_the_panel(serve):
    servers = [serve(lambda request, number, letter=letter: f"[[{letter}]]") for letter in "BAA"]
    rewarded = _score(servers, _pairwise(judges=3, recheck=1.0))
    assert (rewarded.outcome, rewarded.consistent) == ("loss", True)


def test_an_error_of_one_judge_is_raised_once_the_others_have_answered(serve, reply):
    slow = serve(lambda request, number: reply("[[B]]", delay=0.3))
    wrong_key = serve(lambda request, number: reply("no such key", status=401))
    with pytest.raises(BadInputError, match="key"):
        _score([slow, wrong_key], _pairwise(judges=2))
    assert slow.running == 0


def test_an_empty_answer_is_the_lowest_without_a_call(serve):
    server = serve(lambda request, number: "[[B]]")
    pairwise = _score([server], _pairwise(), response=" \n")
    assert (pairwise.score, pairwise.outcome) == (0.0, "loss")
    assert _score([server], _pairwise(values="released"), response="").score == pytest.approx(0.1)
    assert _score([server], PointwiseSettings(kind="pointwise", judge="j0"), response="").score == 0.0
    assert not server.requests


def test_a_failed_constraint_is_worth_nothing_and_told(serve):
    constraint = Criterion(name="form", description="is a letter", hard=True)
    prompt = Prompt(id="p", prompt="Write.", criteria=[Criterion(name="wit"), constraint])
    settings = PointwiseSettings(kind="pointwise", judge="j0", required=0.5)
    for met, score in ((True, 8 / 9), (False, 0.0)):
        server = serve(lambda request, number, met=met: json.dumps({"scores": {"wit": 9, "form": met}}))
        (rewarded,) = _scores([server], settings, [prompt])
        assert (rewarded.score, rewarded.is_vetoed) == (pytest.approx(score), not met)
        assert rewarded.dimensions == {"wit": 9, "form": 10 if met else 1}
