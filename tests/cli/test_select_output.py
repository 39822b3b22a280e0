"""What `longform select` prints: every prompt is accounted for, for people and for programs."""

import json

import pytest

from longform.cli import main


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Six prompts of two datasets and two judges: one is not graded at all, one by a single judge, one badly written."""
    monkeypatch.chdir(tmp_path)
    ids = [f"p{i}" for i in range(6)]
    prompts = [{"id": id_, "prompt": "Write.", "meta": {"dataset": "xy"[i % 2]}} for i, id_ in enumerate(ids)]
    responses = [{"prompt_id": id_, "model": model, "text": f"by {model}"} for id_ in ids for model in ("me", "you")]
    grades = [
        {"prompt_id": id_, "model": model, "score": (i if model == "you" else 1), "judge": judge}
        for i, id_ in enumerate(ids[1:], 1)
        for model in ("me", "you")
        for judge in ("j", "k")
        if (id_, model, judge) != ("p2", "me", "k")
    ]
    for name, rows in (("p", prompts), ("r", responses), ("g", grades)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


COMMAND = "select --prompts p.jsonl --responses r.jsonl --grades g.jsonl --policy me --out l.jsonl --floor 2"
FATES = {
    "chosen": 2,
    "no grade": 1,
    "no grade of the policy": 0,
    "no grade of a competitor": 0,
    "not graded by every judge": 1,
    "fell below the floor": 1,
    "beyond top-k": 1,
    "no text of a competitor": 0,
}


def _run(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def test_every_prompt_is_accounted_for(world, capsys):
    printed = _run(f"{COMMAND} --top-k 2", capsys)
    for line in (
        "ladders                    2 of 6 prompts",
        "no grade                   1",
        "not graded by every judge  1",
        "fell below the floor       1",
        "beyond top-k               1",
        "responses left out         1 of 10 graded (1 not graded by k)",
        "next                       longform train RECIPE --set data.ladders=l.jsonl",
    ):
        assert line in printed.splitlines()
    assert "empty texts" not in printed, "a cause that does not occur is not printed"


def test_programs_get_the_same_numbers_and_the_causes_that_do_not_occur(world, capsys):
    told = json.loads(_run(f"{COMMAND} --top-k 2 --json", capsys))
    assert told["fates"] == FATES
    assert sum(told["fates"].values()) == told["prompts"] == 6
    assert told["responses"] == {"graded": 10, "left_out": 1, "lacking": {"k": 1}}
    assert told["groups"] == {"all": {"fates": FATES, "floor": 2.0, "judges": ["j", "k"]}}
    assert told["potential"] == {"lowest": 3.0, "highest": 4.0, "mean": 3.5}
    assert json.loads(_run(COMMAND.replace(" --floor 2", " --json"), capsys))["groups"]["all"]["floor"] is None


def test_groups_are_counted_one_by_one(world, capsys):
    printed = _run(f"{COMMAND} --top-k 1 --group-by meta.dataset", capsys)
    rows = [line.split() for line in printed.splitlines() if line.startswith(("x ", "y "))]
    assert rows == [["x", "1", "1", "1", "0", "0", "2"], ["y", "1", "0", "0", "1", "1", "2"]]
    told = json.loads(_run(f"{COMMAND} --top-k 1 --group-by meta.dataset --json", capsys))
    summed = {fate: sum(group["fates"][fate] for group in told["groups"].values()) for fate in FATES}
    assert summed == told["fates"] == FATES


def test_a_judge_can_be_left_out(world, capsys):
    told = json.loads(_run(f"{COMMAND} --judges j --samples 1 --json", capsys))
    assert told["fates"]["not graded by every judge"] == 0
    assert told["groups"]["all"]["judges"] == ["j"]


def test_a_page_is_written_where_it_is_asked_for(world, capsys):
    assert "page                       page.html" in _run(f"{COMMAND} --top-k 2 --page page.html", capsys).splitlines()
    assert "Selection for me" in (world / "page.html").read_text(encoding="utf-8")


def test_without_a_ladder_the_causes_are_said_and_what_may_help(world, capsys):
    command = [*COMMAND.replace("--floor 2", "--floor 9").split()]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "longform: --grades: no prompt in p.jsonl has a ladder; 1 no grade, 1 not graded by every judge, "
        "4 fell below the floor; restrict the judges with --judges\n"
    )
    assert not (world / "l.jsonl").exists()
