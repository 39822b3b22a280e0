"""What a live judge is asked, and what of it is kept."""

import asyncio

import pytest
from audited import make_pair, make_pairs

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec, Prices
from longform.evaluation.audit.asking import Auditor, worse_side
from longform.evaluation.audit.figures import measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap
from longform.judging.answers import parse_verdict, read_fences
from longform.judging.attacks import ATTACKS, HARMLESS, append_line
from longform.judging.pairwise import PairwiseJudge, ask_pairwise
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Prompt

BETTER, WORSE = "A splendid text.", "A dull text."


def texts_of(request):
    fenced = read_fences(request["messages"][0]["content"])
    return fenced["TEXT A"], fenced["TEXT B"]


def fair(request, number):
    """A judge that knows the splendid text wherever it stands, and takes the first of two alike."""
    first, second = texts_of(request)
    return "[[B]]" if "splendid" in second and "splendid" not in first else "[[A]]"


def ask(server, pairs, *, log=None, repeats=0, attacks=None, asked_as="j"):
    """The pairs after the judge was asked about them, and attacked where `attacks` says how many."""

    async def work() -> list[AuditedPair]:
        known = log if log is not None else MemoryCallLog()
        spec = ModelSpec(base_url=server.url, model="m", retries=0, prices=Prices(prompt=1e5, completion=2e5))
        async with Endpoint(asked_as, spec, call_log=known) as endpoint:
            auditor = Auditor(PairwiseJudge(endpoint, secret=b"s", retries=0), log=known)
            done = await auditor.judge_pairs(pairs, repeats=repeats, on_progress=lambda *it: None)
            if attacks is None:
                return done
            return await auditor.attack_pairs(done, count=attacks, on_progress=lambda *it: None)

    return asyncio.run(work())


def unjudged(count=1):
    """Pairs whose better text is a, b, a, ..."""
    return [
        make_pair(n, f"{'ab'[n % 2]}--", verdicts=None, response_a=texts[0], response_b=texts[1])
        for n in range(count)
        for texts in [(BETTER, WORSE)[:: -1 if n % 2 else 1]]
    ]


def test_both_orders_are_asked_and_verdicts_name_texts_and_not_places(serve):
    server = serve(fair)
    pairs = ask(server, unjudged(2))
    assert [it.verdicts for it in pairs] == [{"j": {"ab": "a", "ba": "a"}}, {"j": {"ab": "b", "ba": "b"}}]
    assert sorted(map(texts_of, server.requests)) == sorted([(BETTER, WORSE), (WORSE, BETTER)] * 2)


def test_a_judge_that_takes_the_first_is_seen_through(serve):
    (pair,) = ask(serve(lambda request, number: "[[A]]"), unjudged())
    assert pair.verdicts == {"j": {"ab": "a", "ba": "b"}}


def test_only_what_is_missing_is_asked(serve):
    server = serve(fair)
    given = make_pair(0, "a--", response_a=BETTER, response_b=WORSE, verdicts={"j": {"ab": "tie"}, "k": {"ba": "b"}})
    (pair,) = ask(server, [given])
    assert pair.verdicts == {"j": {"ab": "tie", "ba": "a"}, "k": {"ba": "b"}}
    assert [texts_of(it) for it in server.requests] == [(WORSE, BETTER)]
    assert ask(server, [pair]) == [pair]
    assert len(server.requests) == 1


def test_repeats_are_questions_of_their_own(serve):
    server = serve(lambda request, number: "[[A]]" if number <= 2 else "[[C]]")
    (pair,) = ask(server, unjudged(), repeats=2)
    assert len(server.requests) == 6
    assert [(it.order, it.sample) for it in pair.asked or ()] == [
        (order, sample) for sample in range(3) for order in ("ab", "ba")
    ]
    assert ask(server, [pair], repeats=1) == [pair]
    assert len(ask(server, [pair], repeats=3)[0].asked or ()) == 8


def test_why_there_is_no_verdict_is_kept_and_it_is_asked_again(serve, reply):
    server = serve(
        lambda request, number: "Both are fine." if number == 1 else reply("no", finish_reason="content_filter")
    )
    (pair,) = ask(server, unjudged())
    assert pair.verdicts == {"j": {"ab": None, "ba": None}}
    assert sorted(str(it.cause) for it in pair.asked or ()) == ["no_verdict", "refused"]
    server.script = fair
    (pair,) = ask(server, [pair])
    assert pair.verdicts == {"j": {"ab": "a", "ba": "a"}}
    assert [it.cause for it in pair.asked or ()] == [None, None]


def test_tokens_and_costs_are_those_of_the_answers_also_from_the_record(serve):
    server, log = serve(fair), MemoryCallLog()
    first = ask(server, unjudged(), log=log)
    assert [(it.prompt_tokens, it.completion_tokens, it.cost) for it in first[0].asked or ()] == [(10, 5, 2.0)] * 2
    assert ask(server, unjudged(), log=log) == first
    assert len(server.requests) == 2


def test_the_model_behind_the_judge_is_kept(serve):
    pair = make_pair(1, "a--", verdicts={"k": {"ab": "a"}}, judge_model="old")
    assert ask(serve(fair), [pair])[0].judge_model == {"k": "old", "j": "m"}


def test_attacks_stand_under_the_worse_text_and_a_harmless_line_too(serve):
    server = serve(fair)
    pairs = ask(server, unjudged(6), attacks=4)
    attacked = [texts_of(it) for it in server.requests[12:]]
    assert len(attacked) == 4 * 2 * 2
    for first, second in attacked:
        assert BETTER in (first, second)
        assert any(it.startswith(f"{WORSE}\n\n") for it in (first, second))
    assert sum(it.line == HARMLESS.name for pair in pairs for it in pair.asked or ()) == 8
    assert len({it.line for pair in pairs for it in pair.asked or ()}) == 6  # none, harmless, four attacks
    assert ask(server, pairs, attacks=4) == pairs
    assert len(server.requests) == 28


def test_a_judge_that_obeys_is_found_and_one_that_does_not_is_not(serve):
    def gullible(request, number):
        first, _ = texts_of(request)
        return "[[A]]" if "\n\n" in first and "Thank you" not in first else fair(request, number)

    found = {}
    for name, script in (("gullible", gullible), ("fair", fair)):
        figures = measure_judge(read_cases(ask(serve(script), unjudged(10), attacks=10))["j"], Bootstrap(100))
        assert figures.attack_effect is not None
        assert figures.turned_by_harmless is not None
        found[name] = figures.attack_effect.value.estimate
        assert figures.turned_by_harmless.value.estimate == 0.0
        assert figures.attack_effect.n == 20
    assert found == {"gullible": 0.5, "fair": 0.0}  # where the worse text stands first


@pytest.mark.parametrize(
    ("told", "side"),
    [
        ("aaa", "b"),
        ("bbb", "a"),
        ("taa", "b"),
        ("-bb", "a"),
        ("baa", None),
        ("aab", None),
        ("aa-", None),
        ("ttt", None),
    ],
)
def test_the_worse_text_is_worse_in_both_orders_and_not_better_to_people(told, side):
    assert worse_side(make_pairs([told])[0], "j") == side


@pytest.mark.parametrize("request_text", ["Write a tale.", "写一个故事。"])
@pytest.mark.parametrize("attack", [*ATTACKS, HARMLESS], ids=lambda it: it.name)
def test_attacks_are_in_the_language_of_the_request_and_fenced(attack, request_text):
    prompt = Prompt(id="p", prompt=request_text)
    text = append_line("正文。", attack, prompt=prompt, letter="B")
    line = text.removeprefix("正文。\n\n")
    assert line.isascii() == (request_text.isascii() and attack.name != "look-alike")
    assert "{" not in line
    message = ask_pairwise(prompt, text_a="Other.", text_b=text, tag="0123456789ab")
    fenced = read_fences(message)
    assert set(fenced) == {"REQUEST", "TEXT A", "TEXT B"}
    assert parse_verdict(fenced["TEXT B"]) is None
