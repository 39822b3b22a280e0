"""Which texts a judge compared: what a run records of its calls about a group, and what pages show of it."""

import re

import pytest
from recorded_run import Stage, make_ladder
from starlette.testclient import TestClient

from longform.judging.answers import read_fences
from longform.records.database import RunDatabase
from longform.records.run_directory import RunDirectory
from longform.report.page import write_report
from longform.report.rollouts import calls_by_hash
from longform.viewer.app import create_app
from longform.viewer.links import BundleLinks
from longform.viewer.rollout_pages import step_content

GROUP = 3
RUNS = {
    "list": {"curriculum": {"promote_by": "sample"}, "samples": 2},
    "anchors": {"curriculum": {"start": "own", "top": "self"}},
    "elimination": {"position": "both", "more": [{"kind": "pairwise", "judge": "other"}]},
}
"""The best response of a list is also compared with its rung; above the ladder an earlier response is faced; responses of a
group without a verdict of the other reward are not compared."""


@pytest.fixture
def stage(tmp_path, serve, reply):
    """The judge begins each answer with the texts that it was asked about, in their order."""
    made = Stage(tmp_path, serve, reply)
    answer = made.server.script

    def repeating(request, number):
        texts = read_fences(request["messages"][0]["content"])
        asked = [text for name, text in texts.items() if name.startswith("TEXT")]
        return f"{'|'.join(asked)}\n{answer(request, number)}"

    made.server.script = repeating
    return made


def _run(stage, by, *, more=(), curriculum=None, **settings):
    rewards = [{"kind": "group", "judge": "judge", "by": by, **settings}, *more]
    return stage.run(rewards=rewards, method="grpo", group=GROUP, curriculum=curriculum)


def _page(path, step, row):
    client = TestClient(create_app([path], token="t", hosts=["localhost"]), base_url="http://localhost")
    answer = client.get(f"/run/run/rollout/{step}/{row}")
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("by", RUNS)
def test_every_call_about_a_group_is_recorded_with_its_texts_in_the_order_in_which_the_judge_read_them(stage, by):
    path = _run(stage, by, **RUNS[by])
    with RunDirectory.read(path) as run:
        rollouts = list(run.database.rollouts())
        report = write_report(run).read_text(encoding="utf-8")
    texts = {(it.step, it.row): it.text for it in rollouts}
    answers = calls_by_hash(path, [call for it in rollouts for call in it.calls])
    letters = set()
    for it in rollouts:
        references = [reference.text for reference in make_ladder(int(it.prompt_id[1:])).references]
        for call, compared in (it.compared or {}).items():
            named = [
                texts[it.step, text.row]
                if text.row is not None
                else it.reference
                if text.rung == it.rung
                else references[text.rung or 0]
                for text in compared
            ]
            assert answers[call][0].text.split("\n")[0].split("|") == named
            assert call in it.calls
            letters.add([text.row for text in compared].index(it.row))
        if by != "elimination":
            assert set(it.compared or ()) == set(it.calls)
    if by == "elimination":
        assert any(it.cause and not it.compared for it in rollouts), "no group was compared without all responses"
    if by == "anchors":
        assert letters == {1}, "the policy's response is second"
        assert max(it.rung for it in rollouts) > 2, "no earlier response of the policy was faced"
        page = _page(path, *next((it.step, it.row) for it in rollouts if it.rung == 1))
        for rung in ("0 (low, score 0)", "1 (policy, score 1)", "2 (high, score 2)"):
            assert f"the judge read them: A: rung {rung}; <strong>B: this response</strong>." in page
        page = _page(path, *next((it.step, it.row) for it in rollouts if it.rung > 2))
        assert "A: rung 3, an earlier response of the policy; <strong>B" in page
    else:
        assert letters >= {0, 1}, "a response is not always read in the same place"
    assert re.search(r"<strong>[AB]: this response</strong>", report)


def test_siblings_are_linked_on_served_pages_and_within_a_bundle(stage):
    path = _run(stage, "list")
    with RunDirectory.read(path) as run:
        it = next(it for it in run.database.rollouts() if it.compared and it.row > GROUP)
        bundled = step_content(run, "run", it.step, BundleLinks(with_texts=True), prompts={})["rollouts"][it.row]
    (texts, *_) = (it.compared or {}).values()
    listed = re.search(r"the judge read them: (.*?)\.</p>", _page(path, it.step, it.row))
    assert listed is not None
    assert listed[1].split("; ") == [
        f"<strong>{letter}: this response</strong>"
        if text.row == it.row
        else f'{letter}: <a href="/run/run/rollout/{it.step}/{text.row}">row {text.row}</a>'
        for letter, text in zip("ABC", texts, strict=True)
    ]
    assert [text.address for text in bundled.calls[0].texts] == [
        "" if text.row == it.row else f"run-run-step-{it.step:06d}.html#row-{text.row}" for text in texts
    ]


def test_a_run_that_did_not_record_the_texts_is_shown_without_them(stage):
    path = _run(stage, "peer")
    database = RunDatabase(path / "run.sqlite")
    database._connection.executescript("ALTER TABLE rollouts DROP COLUMN compared; PRAGMA user_version = 4;")
    database.close()
    assert "the judge read them" not in _page(path, 1, 0)
