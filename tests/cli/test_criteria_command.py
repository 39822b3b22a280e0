"""`longform criteria`: from prompts to prompts with criteria, by a judge, from pairs, and from published files."""

import json
from pathlib import Path

import pytest
import yaml

from longform.cli import main
from longform.curriculum.criteria import scored_criteria
from longform.evaluation.audit.pairs import read_pairs
from longform.judging.criteria_writing import BANDS
from longform.records.files import read_rows
from longform.records.resume import hash_file
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt
from viewed_runs import rollout

OWN = [{"name": "wit", "description": "it is funny"}]
PROMPTS = [
    {"id": "a", "prompt": "Write about a lighthouse."},
    {"id": "b", "prompt": "写一篇关于海的散文。", "stars": 3},
    {"id": "c", "prompt": "Write a speech.", "criteria": OWN},
]


def _answer(request, number):
    message = request["messages"][0]["content"]
    name = "contrast" if "<<<BETTER " in message else "plain"
    criteria = [
        {"name": f"{name} {i}", "description": "d", "weight": i, "bands": dict.fromkeys(BANDS, "b")} for i in (1, 2)
    ]
    return json.dumps({"criteria": criteria, "constraints": [{"name": "in prose", "description": "no verse"}]})


def _write(name, rows):
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(_answer)
    _write("prompts.jsonl", PROMPTS)
    prices = "prices: {prompt: 1, completion: 1}"
    Path("models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: j, retries: 0, {prices}}}")
    return server


def _run(command):
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    return caught.value.code


def _names(path):
    rows = read_rows(path, Prompt)
    return {row.id: [it.name for it in row.criteria] for row in rows if isinstance(row.criteria, list)}


def test_prompts_get_criteria_and_keep_everything_else(server, capsys):
    assert not _run("criteria prompts.jsonl --judge judge --out out.jsonl --count 2")
    said = capsys.readouterr().out
    assert "3 of 3 prompts, 1 of them already had some" in said
    assert "longform train RECIPE --set data.prompts=out.jsonl" in said
    rows = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[2] == PROMPTS[2] | {"meta": {}}
    assert rows[1].items() >= PROMPTS[1].items() and rows[1]["meta"] == {"criteria_judge": "judge"}
    assert rows[0]["criteria"][0]["weight"] == 1
    assert rows[0]["criteria"][2] == {"name": "in prose", "description": "no verse", "hard": True}
    assert any("恰好2条标准" in it["messages"][0]["content"] for it in server.requests)


def test_a_second_call_asks_nothing_and_refresh_asks_for_those_that_had_some(server, capsys):
    said = {}
    for _ in range(2):
        assert not _run("criteria prompts.jsonl --judge judge --out out.jsonl --count 2 --json")
        assert len(server.requests) == 2
        said = json.loads(capsys.readouterr().out)
    assert (said["with_criteria"], said["had_criteria"], said["constraints"], said["failures"]) == (3, 1, 2, {})
    assert not _run("criteria prompts.jsonl --judge judge --out out.jsonl --count 2 --refresh")
    assert len(server.requests) == 3
    assert _names("out.jsonl")["c"] == ["plain 1", "plain 2", "in prose"]


@pytest.mark.parametrize(
    "pairs",
    [
        [{"prompt": PROMPTS[0]["prompt"], "chosen": "good", "rejected": "bad", "margin": 1.0},
         {"prompt": PROMPTS[0]["prompt"], "chosen": "finer", "rejected": "bad", "margin": 2.0}],
        [{"prompt": "other words", "prompt_id": "a", "chosen": "good", "rejected": "bad"},
         {"prompt": "other words", "prompt_id": "a", "chosen": "finer", "rejected": "bad"}],
        [{"id": "1", "prompt": PROMPTS[0]["prompt"], "response_a": "bad", "response_b": "finer", "label": "b"},
         {"id": "2", "prompt": PROMPTS[0]["prompt"], "response_a": "x", "response_b": "y", "label": "tie"}],
        [{"id": "1", "prompt": PROMPTS[0]["prompt"], "response_a": "bad", "response_b": "finer",
          "labels": {"ann": "b", "ben": "tie", "cy": "b"}}],
    ],
)  # fmt: skip
def test_criteria_of_a_prompt_with_a_pair_come_from_the_difference(server, capsys, pairs):
    _write("pairs.jsonl", pairs)
    assert not _run("criteria prompts.jsonl --judge judge --pairs pairs.jsonl --out out.jsonl --count 2 --json")
    assert json.loads(capsys.readouterr().out)["contrasted"] == 1
    assert _names("out.jsonl") == {
        "a": ["contrast 1", "contrast 2", "in prose"], "b": ["plain 1", "plain 2", "in prose"], "c": ["wit"]
    }  # fmt: skip
    asked = next(it for it in server.requests if "<<<BETTER" in it["messages"][0]["content"])
    assert "finer" in asked["messages"][0]["content"] and ">>>\nbad\n<<<END WORSE" in asked["messages"][0]["content"]


def test_a_pairs_file_gets_criteria_and_keeps_its_texts(server):
    pair = {"id": "1", "prompt": PROMPTS[0]["prompt"], "response_a": "x", "response_b": "y", "label": "b"}
    _write("pairs.jsonl", [pair])
    assert not _run("criteria pairs.jsonl --judge judge --out out.jsonl --count 2")
    (row,) = read_pairs(["out.jsonl"])
    assert (row.response_a, row.response_b, row.label) == ("x", "y", "b")
    assert [it.name for it in row.criteria or () if not isinstance(it, str)] == ["plain 1", "plain 2", "in prose"]


def test_criteria_come_from_the_verdicts_of_a_run(server, capsys):
    references = [{"model": "strong", "text": "the reference", "score": 5}]
    _write("ladders.jsonl", [PROMPTS[0] | {"references": references, "policy_score": 3, "potential": 2}])
    recipe = {
        "policy": "start", "data": {"ladders": "ladders.jsonl"}, "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "run": {"name": "run", "steps": 2},
    }  # fmt: skip
    with RunDirectory.open(Path("runs/run")) as run:
        run.recipe_path.write_text(yaml.safe_dump(recipe))
        run.database.set_fact("prompts", hash_file(Path("ladders.jsonl")))
        for step, outcome in ((1, "win"), (2, "loss")):
            faced = {"prompt_id": "a", "text": f"mine {step}", "reference": "the reference", "outcome": outcome}
            run.database.record_step(step, seconds=1.0, metrics={}, rollouts=[rollout(step, 0, **faced)])
    assert not _run("criteria prompts.jsonl --judge judge --run runs/run --out out.jsonl --count 2 --json")
    assert json.loads(capsys.readouterr().out)["contrasted"] == 1
    asked = next(text for it in server.requests if "<<<BETTER" in (text := it["messages"][0]["content"]))
    assert ">>>\nthe reference\n<<<END BETTER" in asked and ">>>\nmine 2\n<<<END WORSE" in asked


def test_a_prompt_without_an_answer_is_left_out_counted_and_asked_again(server, reply, capsys):
    server.script = lambda request, number: reply("busy", status=503) if number == 1 else _answer(request, number)
    assert not _run("criteria prompts.jsonl --judge judge --out out.jsonl --count 2 --json")
    assert json.loads(capsys.readouterr().out)["failures"] == {"server_error": 1}
    assert len(_names("out.jsonl")) == 2
    assert not _run("criteria prompts.jsonl --judge judge --out out.jsonl --count 2")
    assert (len(_names("out.jsonl")), len(server.requests)) == (3, 3)


WRITINGBENCH = {
    "index": 7, "domain1": "Advertising", "query": "Write a slogan.",
    "checklist": [{"name": f"c{i}", "criteria_description": "d"} | dict.fromkeys(BANDS, "b") for i in range(5)],
}  # fmt: skip
RUBRICHUB = {
    "prompt": [{"role": "user", "content": "Write about a lighthouse."}], "data_source": "Writing",
    "Rubrics": [{"criterion": "Names the sea.", "points": 7}, {"criterion": "Is rude.", "points": -2}],
}  # fmt: skip


def test_published_files_become_prompts_with_criteria(server, capsys):
    _write("wb.jsonl", [WRITINGBENCH])
    assert not _run("criteria --from wb.jsonl --out out.jsonl")
    (row,) = read_rows("out.jsonl", Prompt)
    assert (row.id, row.prompt, row.meta) == ("7", "Write a slogan.", {"domain1": "Advertising"})
    assert [it.bands for it in scored_criteria(row)] == [dict.fromkeys(BANDS, "b")] * 5
    _write("rh.jsonl", [RUBRICHUB, RUBRICHUB])
    assert not _run("criteria --from rh.jsonl --out out.jsonl")
    assert "2 criteria with negative points" in capsys.readouterr().out
    (row,) = read_rows("out.jsonl", Prompt)
    assert [(it.name, it.description, it.weight) for it in scored_criteria(row)] == [
        ("criterion 1", "Names the sea.", 7)
    ]
    assert server.requests == []


def test_own_prompts_get_published_criteria_by_their_request(server, capsys):
    _write("rh.jsonl", [RUBRICHUB])
    assert not _run("criteria prompts.jsonl --from rh.jsonl --out out.jsonl --json")
    said = json.loads(capsys.readouterr().out)
    assert (said["with_criteria"], said["had_criteria"], said["unmatched"]) == (2, 1, 1)
    assert _names("out.jsonl") == {"a": ["criterion 1"], "c": ["wit"]}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("criteria prompts.jsonl --out out.jsonl", "give either --judge NAME"),
        ("criteria --judge judge --out out.jsonl", "PROMPTS: required"),
        ("criteria prompts.jsonl --judge judge --out prompts.jsonl", "would overwrite"),
        ("criteria prompts.jsonl --judge nobody --out out.jsonl", "nobody"),
        (
            "criteria prompts.jsonl --judge judge --out out.jsonl --pairs prompts.jsonl",
            "prompts.jsonl:1: needs either",
        ),
        (
            "criteria prompts.jsonl --judge judge --out out.jsonl --pairs other.jsonl",
            "other.jsonl: no pair of a better",
        ),
        ("criteria prompts.jsonl --judge judge --out out.jsonl --run nowhere", "nowhere"),
        ("criteria --from prompts.jsonl --out out.jsonl", "prompts.jsonl:1: has neither `checklist`"),
        ("criteria --from bad.jsonl --out out.jsonl", "bad.jsonl:1: missing 1-2"),
        ("criteria --from points.jsonl --out out.jsonl", "points.jsonl:1: points: needs a number, got 'many'"),
        ("criteria --from rubrics.jsonl --out out.jsonl", "rubrics.jsonl:1: Rubrics: not a list of objects"),
        ("criteria --from none.jsonl --out out.jsonl", "none.jsonl: no row has a criterion with a text and positive"),
        ("criteria --from long.jsonl --out out.jsonl", "long.jsonl:1: "),
        (
            "criteria other-prompts.jsonl --from rh.jsonl --out out.jsonl",
            "rh.jsonl: has none of the prompts of other-prompts",
        ),
        (
            "criteria prompts.jsonl --judge judge --out out.jsonl --pairs other.jsonl --run r",
            "give only one of the two",
        ),
        ("criteria --from prompts.jsonl --out out.jsonl --pairs other.jsonl", "only valid with --judge"),
    ],
)
def test_what_cannot_work_is_one_line(server, capsys, command, said):
    _write("rh.jsonl", [RUBRICHUB])
    _write("other-prompts.jsonl", [{"id": "x", "prompt": "Another request."}])
    _write("points.jsonl", [RUBRICHUB | {"Rubrics": [{"criterion": "c", "points": "many"}]}])
    _write("rubrics.jsonl", [RUBRICHUB | {"Rubrics": ["c"]}])
    _write("none.jsonl", [RUBRICHUB | {"Rubrics": [{"criterion": " ", "points": 3}]}])
    _write("long.jsonl", [RUBRICHUB | {"prompt": []}])
    _write("other.jsonl", [{"prompt": "another", "chosen": "good", "rejected": "bad"}])
    _write("bad.jsonl", [WRITINGBENCH | {"checklist": [{"name": "c", "criteria_description": "d"}]}])
    assert _run(command) == 2
    error = capsys.readouterr().err.strip().split("\n")
    assert len(error) == 1 and said in error[0]
    assert not Path("out.jsonl").exists()
