"""Selection and training against an endpoint that fails all the time: both finish, and no fault passes for a judgement.

One campaign runs for the whole module: every command against the chaos endpoint, tried again as a user would, and the
same commands against a calm one. The tests read what it left.
"""

import json
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from chaos import HARSH, RECORDED, Chaos
from world import GRADE, PRICES, SELECT, START, TRAIN, build_world, generate, without_calls

from artifacts import verdict_export
from longform.judging.answers import parse_verdict
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import ask_pointwise
from longform.miniature.judge import EXAMINER, JUDGE, answer
from longform.records.database import RolloutRecord, RunDatabase
from longform.records.files import read_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Grade, Ladder, Prompt

pytestmark = pytest.mark.slow
STEPS = 6
SETTINGS = ("--set", f"run.steps={STEPS}")
MEANING = {"A": "loss", "B": "win", "C": "tie"}  # the response is the second text
UNKNOWN = ("stalled", "dropped", "cut", "truncated")
"""Fates after which nobody knows what was paid."""


@dataclass
class Campaign:
    """What the commands left behind."""

    harsh: Path
    calm: Path
    chaos: Chaos
    passes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The results that each command printed, try by try."""

    @property
    def logs(self) -> list[Path]:
        return [*self.harsh.glob("*.calls.sqlite"), self.harsh / "runs" / "run" / "run.sqlite"]

    def calls(self, columns: str) -> list[tuple[Any, ...]]:
        """Columns of all calls on record, in the order of each log."""
        found = []
        for log in self.logs:
            with closing(sqlite3.connect(log)) as connection:
                found += connection.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()
        return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, forks):
    harsh, calm = tmp_path_factory.mktemp("harsh"), tmp_path_factory.mktemp("calm")
    with Chaos(HARSH, seed=19) as chaos, Chaos() as quiet:
        result = Campaign(harsh, calm, chaos)
        build_world(harsh, chaos.url, num_prompts=20, timeout_seconds=1.5, retries=2)
        build_world(calm, quiet.url, num_prompts=20)
        forks.run(harsh, START)
        copy(harsh / "start.jsonl", calm)
        for out, command in (
            ("novice.jsonl", generate("novice")),
            ("master.jsonl", generate("master")),
            ("grades.jsonl", GRADE),
        ):
            forks.run(calm, command)
            result.passes[out] = _until_complete(forks, harsh, command, first=harsh / f"first-{out}", out=harsh / out)
        for folder in (harsh, calm):
            forks.run(folder, SELECT)
        result.passes["train"] = [json.loads(forks.run(harsh, TRAIN, *SETTINGS, "--json").stdout)]
        yield result


def _until_complete(forks, folder, command, *, first, out):
    """Run a command again and again, as a user would, until nothing fails; keep what the first pass gave."""
    results = []
    while not results or results[-1].get("failed") or results[-1].get("no grade"):
        assert len(results) < 8, results
        results.append(json.loads(forks.run(folder, command, "--json").stdout))
        if not first.exists():
            copy(out, first)
    return results


@pytest.fixture
def database(campaign):
    with RunDirectory.read(campaign.harsh / "runs" / "run") as run:
        yield run.database


@pytest.fixture
def rollouts(database: RunDatabase) -> list[RolloutRecord]:
    return list(database.rollouts())


def _ladders(campaign):
    return {ladder.id: ladder for ladder in read_rows(campaign.harsh / "ladders.jsonl", Ladder)}


def test_the_endpoint_did_all_it_could(campaign):
    assert set(campaign.chaos.fates) == set(RECORDED)
    failed = sum(count for fate, count in campaign.chaos.fates.items() if RECORDED[fate] != "ok")
    assert failed / campaign.chaos.fates.total() > 0.3


@pytest.mark.parametrize("out", ["novice.jsonl", "master.jsonl", "grades.jsonl"])
def test_the_first_pass_holds_nothing_that_a_calm_endpoint_would_not_have_said(campaign, out):
    first = without_calls(campaign.harsh / f"first-{out}").splitlines()
    assert set(first) <= set(without_calls(campaign.calm / out).splitlines())
    (failures,) = [campaign.passes[out][0][key] for key in ("failed", "no grade") if key in campaign.passes[out][0]]
    missing = sum(failures.values()) if failures else 0
    assert len(first) + missing == len((campaign.calm / out).read_bytes().splitlines())


@pytest.mark.parametrize("out", ["novice.jsonl", "master.jsonl", "grades.jsonl", "ladders.jsonl"])
def test_the_same_command_tried_again_ends_as_a_calm_one(campaign, out):
    assert without_calls(campaign.harsh / out) == without_calls(campaign.calm / out)


def test_some_grades_took_several_passes(campaign):
    assert len(campaign.passes["grades.jsonl"]) > 1, "nothing failed for good, so the tests above say little"


def test_every_grade_is_the_judges_own(campaign):
    """The judge is a function of its question: it is asked here without HTTP."""
    prompts = {it.id: it for it in read_rows(campaign.harsh / "prompts.jsonl", Prompt)}
    texts = {}
    for name in ("start", "novice", "master"):
        for line in (campaign.harsh / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            texts[row["prompt_id"], name] = row["text"]
    for row in read_rows(campaign.harsh / "first-grades.jsonl", Grade):
        question = ask_pointwise(prompts[row.prompt_id], texts[row.prompt_id, row.model], tag="0" * 12)
        assert row.dimensions == json.loads(answer(question.message, JUDGE))["scores"]


def test_the_training_finished(campaign, database, rollouts):
    assert campaign.passes["train"][0]["steps"] == database.last_step() == STEPS
    assert len(rollouts) == STEPS * 16


def test_no_fault_became_a_loss(campaign, rollouts):
    ladders = _ladders(campaign)
    for it in rollouts:
        message = ask_pairwise(ladders[it.prompt_id], text_a=it.reference, text_b=it.text, tag="0" * 12)
        letter = parse_verdict(answer(message, JUDGE))
        assert letter is not None
        assert it.outcome in (None, MEANING[letter])
        assert (it.reward is None) == (it.outcome is None) == (it.cause is not None)
    assert len({it.outcome for it in rollouts}) == 4, "win, tie, loss and none: else this would say little"


def test_every_masked_rollout_has_the_cause_that_its_last_call_met(campaign, rollouts):
    last = {call: (outcome, text) for call, outcome, text in campaign.calls("request_hash, outcome, text")}
    masked = [it for it in rollouts if it.reward is None]
    for it in masked:
        outcome, _ = last[it.calls[-1]]
        assert outcome == ("ok" if it.cause == "no_verdict" else it.cause)
    assert len({it.cause for it in masked}) > 1


def test_every_masked_rollout_is_counted_by_cause(database, rollouts):
    for step in range(1, STEPS + 1):
        masked = [it for it in rollouts if it.step == step and it.reward is None]
        counted = {
            name.removeprefix("no_verdict/"): value
            for name, points in database.metrics().items()
            for at, value in points
            if at == step and name.startswith("no_verdict/")
        }
        lengths = [counted.pop(name) for name in list(counted) if name.startswith("words_")]
        assert counted.pop("share") == pytest.approx(len(masked) / 16)
        assert counted == Counter(it.cause for it in masked)
        assert sum(lengths) == len(masked)


def test_no_fault_became_a_grade_of_the_validation(campaign, database):
    prompts = {it.id: it for it in read_rows(campaign.harsh / "validation.jsonl", Prompt)}
    silent = dict(database.metric("validation/no_grade"))
    assert set(silent) == {0, 4, STEPS}
    for step, missing in silent.items():
        texts = database.validations(step)
        for it in texts:
            message = ask_pointwise(prompts[it.prompt_id], it.text, tag="0" * 12).message
            scores = json.loads(answer(message, EXAMINER))["scores"].values()
            assert it.grade in (None, pytest.approx(sum(scores) / len(scores)))
        assert missing == sum(it.grade is None for it in texts)


def test_every_request_is_on_record_with_what_became_of_it(campaign):
    expected: Counter[str] = Counter()
    for fate, count in campaign.chaos.fates.items():
        expected[RECORDED[fate]] += count
    assert Counter(outcome for (outcome,) in campaign.calls("outcome")) == expected


def test_tokens_and_cost_are_the_servers_own_count(campaign):
    stated = [(it.prompt_tokens, it.completion_tokens) for it in campaign.chaos.asked]
    rows = campaign.calls("prompt_tokens, completion_tokens, cost, is_estimated")
    calls = [row for row in rows if not row[3]]
    tokens = [sum(column) for column in zip(*stated, strict=True)]
    assert [sum(call[i] or 0 for call in calls) for i in (0, 1)] == tokens
    price = (PRICES["prompt"] * tokens[0] + PRICES["completion"] * tokens[1]) / 1e6
    assert sum(call[2] or 0 for call in calls) == pytest.approx(price)
    unknown = sum(campaign.chaos.fates[fate] for fate in UNKNOWN)
    estimated = [row for row in rows if row[3]]
    assert len(estimated) == unknown
    assert all(cost > 0 for _, _, cost, _ in estimated)


def test_a_recorded_answer_was_never_asked_for_again(campaign):
    ended = set()
    for call, outcome in campaign.calls("request_hash, outcome"):
        assert call not in ended
        if outcome == "ok":
            ended.add(call)
    assert len(ended) > 100


@pytest.fixture
def small(campaign, tmp_path):
    """A fresh folder with the campaign's ladders, for runs of three steps."""

    def make(name, url, **spec):
        build_world(tmp_path / name, url, **spec)
        copy(campaign.calm / "ladders.jsonl", tmp_path / name)
        return tmp_path / name

    return make


def _export(folder):
    with RunDirectory.read(folder / "runs" / "run") as run:
        return verdict_export(run.database), run.database.promotions(), run.database.validations(3)


def test_a_judge_that_is_away_for_a_while_costs_no_rollout_and_no_try(small, forks):
    with Chaos(latency_seconds=0.02) as chaos, Chaos() as calm:
        folder, other = small("away", chaos.url, retries=1), small("calm", calm.url)
        forks.start(folder, TRAIN, "--set", "run.steps=3")
        _wait_until(lambda: len(chaos.asked) >= 15)
        chaos.leave()
        time.sleep(2.0)
        assert not forks.has_ended()
        chaos.come_back()
        done = forks.wait()
        assert done.returncode == 0, done.stderr
        forks.run(other, TRAIN, "--set", "run.steps=3")
    assert _export(folder) == _export(other)
    with closing(sqlite3.connect(folder / "runs" / "run" / "run.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM calls WHERE outcome = 'connection'").fetchone()[0] > 0


def test_a_judge_that_falls_silent_stops_the_run_which_then_resumes_as_if_nothing_had_been(small, forks):
    with Chaos() as chaos, Chaos() as calm:
        folder, other = small("silent", chaos.url, retries=0), small("calm", calm.url)
        threading.Thread(target=lambda: _fall_silent(chaos, after=30), daemon=True).start()
        stopped = forks.run(folder, TRAIN, "--set", "run.steps=3", code=3)
        assert "rollouts have no score (" in stopped.stderr.splitlines()[-1]
        assert "server_error" in stopped.stderr.splitlines()[-1]
        chaos.rates = {}
        forks.run(folder, TRAIN, "--set", "run.steps=3", "--resume")
        forks.run(other, TRAIN, "--set", "run.steps=3")
    assert _export(folder) == _export(other)


def _fall_silent(chaos, *, after):
    _wait_until(lambda: len(chaos.asked) >= after)
    chaos.rates = {"broken": 1.0}


def _wait_until(happens, *, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)
