"""A judge model learns from the recorded verdicts of a run: the judge's own answers, to the questions that it was asked."""

import pytest
from recorded_run import Stage

from longform.judging.answers import parse_verdict, read_fences
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.training.judge_model.pairs import letter_of, read_run_verdicts, training_rows_of_runs
from longform.wording import CURRENT, load_wording

WORDING = load_wording(CURRENT)


@pytest.fixture
def stage(tmp_path, serve, reply):
    return Stage(tmp_path, serve, reply)


@pytest.mark.parametrize("position", ["second", "first", "both"])
def test_each_row_is_an_answer_to_the_question_that_was_asked(stage, position):
    run = stage.run(position=position)
    verdicts = list(read_run_verdicts(run))
    rows = training_rows_of_runs(verdicts, wording=WORDING)
    assert len(rows) > 10
    # What the judge read, without the tags of its fences, and what it answered.
    asked = {tuple(read_fences(it["messages"][0]["content"]).items()) for it in stage.server.requests}
    for verdict, row in zip(verdicts, rows, strict=True):
        assert row.messages is not None and verdict.pair.label is not None
        question, answer = (turn.content for turn in row.messages)
        read = read_fences(question)
        assert tuple(read.items()) in asked
        assert answer == stage.judges({"model": "judge", "messages": [{"content": question}]}, 0)
        assert parse_verdict(answer) == letter_of(verdict.pair.label, verdict.order)


def test_questions_are_learned_once_and_every_decided_verdict_is(stage):
    run = stage.run(position="second")
    verdicts = list(read_run_verdicts(run))
    keys = {(it.pair.id, it.pair.response_a, it.pair.response_b, it.order) for it in verdicts}
    assert len(keys) == len(verdicts)
    with RunDirectory.read(run) as stored:
        decided = {(it.prompt_id, it.text, it.reference) for it in stored.database.rollouts() if it.outcome}
    assert {(it.pair.id, it.pair.response_a, it.pair.response_b) for it in verdicts} == decided


def test_the_minority_of_a_panel_is_no_training_row(stage):
    run = stage.run(judge=["judge", "other", "third"])
    for it in read_run_verdicts(run):
        assert it.pair.label is not None
        assert parse_verdict(it.answer) == letter_of(it.pair.label, it.order)


def test_a_run_without_a_pairwise_reward_is_refused(stage):
    run = stage.run(rewards=[{"kind": "pointwise", "judge": "judge"}])
    with pytest.raises(BadInputError, match="the run has no pairwise reward"):
        list(read_run_verdicts(run))
