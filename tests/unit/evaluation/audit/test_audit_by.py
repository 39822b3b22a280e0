"""Ways to compare a group, measured on groups with known scores and a judge whose errors are known."""

import json
import random
import re
from typing import Any

import pytest
import yaml

from longform.evaluation.audit.group_figures import ComparedGroup, advise_method, decisions, measure_method
from longform.evaluation.audit.groups import audit_groups, group_tables
from longform.evaluation.audit.pairs import read_pairs
from longform.evaluation.audit.scored_groups import ScoredGroup
from longform.evaluation.estimates import Bootstrap
from longform.judging.answers import read_fences
from longform.records.errors import BadInputError
from longform.records.files import read_rows

METHODS = ("peer", "list", "round-robin", "elimination")
GROUPS, SIZE = 16, 5
TIGHT = Bootstrap(resamples=200)


def _quality(text):
    found = re.search(r"quality (\d+)", text)
    assert found is not None
    return int(found[1])


def _judge(*, bias=0.0, noise=0.0):
    """Prefers the text of higher quality, with an error for each text, and `bias` for the one that is read first."""

    def answer(request, number):
        message = request["messages"][0]["content"]
        texts = {label[-1]: it for label, it in read_fences(message).items() if label.startswith("TEXT ")}
        draw = random.Random(message)
        liked = {it: _quality(text) + draw.gauss(0, noise) for it, text in texts.items()}
        last = len(liked) - 1
        liked = {letter: value + bias * (1 - place / last) for place, (letter, value) in enumerate(liked.items())}
        ranked = sorted(liked, key=lambda letter: -liked[letter])
        return f"[[{' > '.join(ranked)}]]" if "[[X > Y = Z]]" in message else f"[[{ranked[0]}]]"

    return answer


def _write_groups(folder, *, size=SIZE):
    draw = random.Random(3)
    rows = []
    for number in range(GROUPS):
        scores = draw.sample(range(10), size)
        responses = [{"text": f"text {place} of quality {score}", "score": score} for place, score in enumerate(scores)]
        rows.append({"id": f"g{number}", "prompt": f"Write {number}.", "responses": responses})
    path = folder / "groups.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _audit(folder, server, *, files=None, methods=METHODS, judges=("judge",), **settings) -> Any:
    spec = {"base_url": server.url, "model": "m", "retries": 0, "prices": {"prompt": 1, "completion": 1}}
    (folder / "models.yaml").write_text(yaml.safe_dump({name: {**spec, "model": name} for name in ("judge", "other")}))
    settings = {
        "models": folder / "models.yaml",
        "out": folder / "out.jsonl",
        "resamples": 200,
        "repeats": 0,
    } | settings
    return audit_groups(files or [_write_groups(folder)], methods=methods, judges=judges, **settings)


def test_a_judge_without_errors_agrees_fully_and_the_cheapest_complete_way_is_chosen(tmp_path, serve):
    audited = _audit(tmp_path, serve(_judge()), repeats=1)
    figures = {it.by: it for it in audited.figures}
    for by in ("list", "round-robin"):
        assert figures[by].agreement.value.estimate == 1.0
        assert figures[by].noise.value.estimate == 0.0
    assert 0.5 < figures["peer"].agreement.value.estimate < figures["elimination"].agreement.value.estimate < 1
    assert all(it.undecided.value.estimate == 0 for it in audited.figures)
    *calls, of_elimination = [it.calls for it in audited.figures]
    assert calls == [SIZE - 1, 1, SIZE * (SIZE - 1) // 2] and SIZE - 1 < of_elimination <= 2 * SIZE - 3
    assert audited.advice.by is not None and audited.advice.by.by == "list"
    assert "the cheapest of 2 that are not significantly worse" in audited.advice.because
    assert "Ways to compare a group" in [it.title for it in group_tables(audited)]


def test_bias_and_noise_are_seen_for_pairs_and_lists(tmp_path, serve):
    audited = _audit(tmp_path, serve(_judge(bias=3, noise=2)), repeats=2, methods=("list", "round-robin"))
    for it in audited.figures:
        assert it.first_lead.value.low > 0, it.by
        assert it.noise.value.low > 0, it.by
        assert it.agreement.value.estimate < 1
        assert it.cost_of_correct > 0
    even = _audit(tmp_path, serve(_judge()), methods=("list", "round-robin"), out=tmp_path / "even.jsonl")
    assert all(it.first_lead.value.low <= 0 <= it.first_lead.value.high for it in even.figures)
    assert all(it.noise is None for it in even.figures), "one run shows no noise"


def test_a_judge_that_always_names_the_first_text_agrees_with_nobody_wherever_the_better_text_is_listed(
    tmp_path, serve
):
    rows = [
        {
            "id": f"g{number}",
            "prompt": f"Write {number}.",
            "responses": [{"text": "a", "score": 1}, {"text": "b", "score": 2}],
        }
        for number in range(40)
    ]
    path = tmp_path / "sorted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = serve(lambda request, number: "[[A > B]]" if "[[X > Y = Z]]" in str(request) else "[[A]]")
    for it in _audit(tmp_path, server, files=[path]).figures:
        assert it.agreement.value.low < 0.5 < it.agreement.value.high, it.by
        assert it.first_lead.value.low > 0.4, it.by


def test_a_second_call_asks_nothing_and_scores_are_in_the_output(tmp_path, serve):
    server = serve(_judge(noise=1))
    first = _audit(tmp_path, server)
    asked = len(server.requests)
    again = _audit(tmp_path, server)
    assert len(server.requests) == asked
    assert again.figures == first.figures
    (row, *_) = read_rows(tmp_path / "out.jsonl", ScoredGroup)
    assert row.model_extra is not None
    assert set(row.model_extra["by"]["judge"]) == set(METHODS)
    assert len(row.model_extra["by"]["judge"]["list"][0]) == SIZE


def test_scores_of_other_judges_and_methods_stay_in_the_output(tmp_path, serve):
    def by_judge():
        rows = read_rows(tmp_path / "out.jsonl", ScoredGroup)
        return [(row.model_extra or {})["by"] for row in rows]

    server = serve(_judge())
    _audit(tmp_path, server, methods=["peer"], judges=["other"])
    (before, *_) = by_judge()
    _audit(tmp_path, server, methods=["list"])
    _audit(tmp_path, server, methods=["peer"])
    after = by_judge()
    assert all(set(it) == {"judge", "other"} and set(it["judge"]) == {"list", "peer"} for it in after)
    assert after[0]["other"] == before["other"]
    content = (tmp_path / "out.jsonl").read_text()
    for changed, message in (
        (content.replace('"g15"', '"g99"'), "has group 'g99', which is not among the groups; choose another file"),
        (content.replace("text 4 of", "text of"), "has group 'g0' with other texts; choose another file"),
        (content.replace('"by"', '"of"'), "has row 'g0' of another kind; choose another file"),
    ):
        (tmp_path / "out.jsonl").write_text(changed)
        with pytest.raises(BadInputError, match=message):
            _audit(tmp_path, server, methods=["list"])
        assert (tmp_path / "out.jsonl").read_text() == changed


def test_the_bound_on_questions_counts_the_lists_of_a_group_that_has_too_many_texts(tmp_path, serve):
    server, said = serve(_judge()), []
    responses = [{"text": f"text {place} of quality {place}", "score": place} for place in range(30)]
    path = tmp_path / "large.jsonl"
    path.write_text(json.dumps({"id": "g", "prompt": "Write.", "responses": responses}) + "\n")
    audited = _audit(tmp_path, server, files=[path], methods=["list"], samples=2, on_plan=said.append)
    assert len(server.requests) == 4, "two lists of at most 23 texts, twice"
    assert said[0].startswith("1 judge gets at most 4 questions each")
    assert audited.figures[0].calls == 4


def test_texts_of_a_group_stand_for_the_rungs_that_the_others_are_compared_with(tmp_path, serve):
    size, rungs = 7, 3
    files, ways = [_write_groups(tmp_path, size=size)], ("anchors", "peer")
    server = serve(_judge())
    audited = _audit(tmp_path, server, files=files, methods=ways, repeats=1)
    figures, of_all = audited.figures
    assert (figures.calls, figures.texts, of_all.texts) == ((size - rungs) * rungs, size - rungs, size)
    assert figures.groups == GROUPS and audited.notes == []
    assert figures.undecided.value.estimate == 0, "anchors are no missing decisions"
    assert figures.noise.value.estimate == 0, "the anchors of a group are the same in every run"
    assert figures.first_lead.value.low < 0 < figures.first_lead.value.high
    assert 0.6 < figures.agreement.value.estimate < 1, "texts between the same anchors are level"
    for row in read_rows(tmp_path / "out.jsonl", ScoredGroup):
        scores, again = (row.model_extra or {})["by"]["judge"]["anchors"]
        assert [it is None for it in scores] == [it is None for it in again]
        anchors = {it.text for it, score in zip(row.responses, scores, strict=True) if score is None}
        asked = [read_fences(it["messages"][0]["content"]) for it in server.requests]
        games = [(it["TEXT A"], it["TEXT B"]) for it in asked if row.prompt in it.values()]
        games = games[: (size - rungs) * rungs]
        assert {first for first, _ in games} == anchors and len(anchors) == rungs
        assert {second for _, second in games} == {it.text for it in row.responses} - anchors
        beaten = {text: sum(_quality(text) > _quality(it) for it in anchors) for _, text in games}
        by_text = {it.text: score for it, score in zip(row.responses, scores, strict=True) if score is not None}
        ranks = sorted(by_text, key=lambda text: by_text[text])
        assert [beaten[text] for text in ranks] == sorted(beaten.values()), "more anchors beaten, a higher score"
    biased = _audit(tmp_path, serve(_judge(bias=9)), files=files, methods=["anchors"], out=tmp_path / "biased.jsonl")
    assert biased.figures[0].first_lead.value.low > 0.2


def test_where_anchors_cannot_be_measured_the_other_ways_are_and_a_line_says_why(tmp_path, serve):
    few = _write_groups(tmp_path, size=4).rename(tmp_path / "few.jsonl")
    files, said = [few], []
    audited = _audit(tmp_path, serve(_judge()), files=files, methods=("anchors", "list"), on_plan=said.append)
    assert [it.by for it in audited.figures] == ["list"] and said[0].startswith(f"1 judge gets at most {GROUPS} ")
    assert audited.notes == [
        "By anchors: not measured: a group needs at least 5 texts with scores, 3 to compare with and 2 to be compared; the "
        "largest here has 4."
    ]
    assert audited.notes[0] in group_tables(audited)[0].notes
    large = _write_groups(tmp_path, size=6)
    large.write_text(large.read_text().replace('"g', '"h').replace("Write ", "Draw "))
    server, out = serve(_judge()), tmp_path / "both.jsonl"
    audited = _audit(tmp_path, server, files=[few, large], methods=("anchors", "list"), out=out)
    anchors, lists = audited.figures
    assert (anchors.groups, lists.groups, anchors.calls) == (GROUPS, 2 * GROUPS, 9)
    assert audited.notes[0].startswith(
        f"By anchors: {GROUPS} of {2 * GROUPS} groups are left out: a group needs at least 5"
    )
    assert "anchors" not in (next(iter(read_rows(out, ScoredGroup))).model_extra or {})["by"]["judge"]
    groups = _audit(tmp_path, server, files=[few, large], methods=["anchors"], anchors=0, out=tmp_path / "one.jsonl")
    assert groups.figures[0].calls == pytest.approx((3 + 5) / 2), "one text stands for the rung that is faced"


def test_a_single_method_is_not_compared_with_others(tmp_path, serve):
    audited = _audit(tmp_path, serve(_judge()), methods=["list"])
    assert audited.advice.because == "the only one that was measured; it agrees better than chance"


def test_labelled_pairs_are_groups_of_two(tmp_path, serve):
    rows = [
        {
            "id": f"p{number}",
            "prompt": f"Write {number}.",
            "response_a": f"quality {number}",
            "response_b": "quality 10",
            "label": "b" if number < 10 else "a",
        }
        for number in range(20)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    audited = _audit(tmp_path, serve(_judge()), files=[path], methods=("list", "peer"))
    assert [it.agreement.value.estimate for it in audited.figures] == [pytest.approx(0.975, abs=0.03)] * 2
    assert [it.calls for it in audited.figures] == [1, 1]


def test_decisions_without_a_verdict_are_counted_apart(tmp_path, serve):
    def sometimes(request, number):
        is_even = re.search(r"Write \d*[02468]\.", request["messages"][0]["content"])
        return _judge()(request, number) if is_even else "I cannot say."

    (figures,) = _audit(tmp_path, serve(sometimes), methods=("list",)).figures
    assert figures.agreement.value.estimate == 1.0
    assert figures.undecided.value.estimate == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"methods": ("anchors",), "anchors": 2},
            "--by anchors: not measured: a group needs at least 7 texts with scores, 5 to compare with and 2 to be "
            "compared; the largest here has 5",
        ),
        ({"methods": ("list", "list")}, "--by list: listed twice"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path, serve, settings, message):
    with pytest.raises(BadInputError, match=message):
        _audit(tmp_path, serve(_judge()), **settings)


def test_groups_without_scores_are_refused(tmp_path, serve):
    path = tmp_path / "bare.jsonl"
    path.write_text(json.dumps({"id": "g", "prompt": "Write.", "responses": [{"text": "a"}, {"text": "b"}]}) + "\n")
    with pytest.raises(BadInputError, match="no group has two texts with different scores"):
        _audit(tmp_path, serve(_judge()), files=[path])


@pytest.mark.parametrize(
    ("people", "judged", "expected"),
    [
        ([1, 2, 3], [0.1, 0.2, 0.3], [1, 1, 1]),
        ([1, 2, 3], [0.3, 0.2, 0.2], [0, 0, 0.5]),
        ([1, 1, 2], [0.9, 0.1, None], [None, None]),
        ([None, 1, 2], [0.9, 0.1, 0.2], [1]),
    ],
)
def test_a_decision_is_a_pair_that_people_tell_apart(people, judged, expected):
    assert decisions(people, judged) == expected


def _group(prompt, judged, *, cost):
    return ComparedGroup(prompt, [1, 2, 3], [judged], [3], [cost], [])


def test_the_advice_takes_the_cheapest_that_is_not_worse_and_leaves_the_worse_alone():
    right, wrong = [0.1, 0.5, 0.9], [0.9, 0.5, 0.1]
    prompts = [f"p{n}" for n in range(20)]
    dear = [_group(it, right, cost=5.0) for it in prompts]
    cheap = [_group(it, right if n else wrong, cost=1.0) for n, it in enumerate(prompts)]
    bad = [_group(it, wrong, cost=0.1) for it in prompts]
    ways = [dear, cheap, bad]
    figures = [measure_method("j", by, it, TIGHT) for by, it in zip(("round-robin", "list", "peer"), ways, strict=True)]
    assert advise_method(figures, ways, TIGHT).by == figures[1]
    assert advise_method(figures[::2], ways[::2], TIGHT).by == figures[0]
    few = [it[:5] for it in ways]
    figures = [measure_method("j", by, it, TIGHT) for by, it in zip(("round-robin", "list", "peer"), few, strict=True)]
    assert "only 5 of at least 10 prompts" in advise_method(figures, few, TIGHT).because


def test_a_groups_file_where_pairs_are_read_is_refused_with_the_flag_that_reads_it(tmp_path):
    file = tmp_path / "groups.jsonl"
    file.write_text('{"id": "a", "prompt": "Write.", "responses": [{"text": "one"}, {"text": "two"}]}\n')
    with pytest.raises(BadInputError, match=r"groups\.jsonl:1: a group of responses, not a pair; `longform audit --by"):
        read_pairs([file])
