"""`longform study`: models behind an endpoint from collected prompts to tables and a page, and what stops and goes on."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from longform.cli import main
from longform.judging.answers import read_fences
from longform.judging.criteria import QUALITIES
from longform.judging.criteria_writing import BANDS

COLLECTED, HELD_OUT = "$collected/prompts.jsonl", "$collected/held-out.jsonl"
STUDY: dict[str, Any] = {
    "study": "served",
    "seeds": [1],
    "prepare": {
        "collected": {"pool": ["pool.csv"], "held_out": 2},
        "asked": {"criteria": COLLECTED, "judge": "judge", "count": 2},
    },
    "arms": {"plain": {"model": "weak"}, "better": {"model": "strong"}},
    "examine": [
        {"name": "grade", "grade": True, "prompts": "$asked", "judge": "judge", "limit": 2},
        {"name": "won", "compare": "anchor", "prompts": HELD_OUT, "judge": "judge"},
        {"name": "Elo", "elo": {"anchor": 1000.0}, "prompts": HELD_OUT, "judge": "judge"},
        {"bench": "longbench-write", "data": "lbw.jsonl", "judge": ["judge", "other"]},
    ],
    "tables": [{"paired_with": "plain"}],
    "curves": [{"y": "grade"}],
}
KINDS = {"verdict": "TEXT A", "grade": "TEXT", "criteria": "REQUEST"}
"""A fence of each question to the judge."""
SCORES = {"weak": 4, "anchor": 5, "strong": 8}


class Models:
    """Writers whose texts name them, and a judge that knows who is better; their next answers may be errors."""

    def __init__(self, reply) -> None:
        self.reply, self.errors = reply, dict.fromkeys((*KINDS, "writer"), 0)
        self.asked = dict(self.errors)

    def __call__(self, request, number):
        content = request["messages"][0]["content"]
        fences = read_fences(content) if "<<<" in content else {}
        kind = next((it for it, name in KINDS.items() if name in fences), "writer")
        self.asked[kind] += 1
        if self.errors[kind]:
            self.errors[kind] -= 1
            return self.reply("try later", status=503)
        if kind == "writer":
            return f"A story by {request['model']}, the writer."
        if kind == "criteria":
            criteria = [
                {"name": it, "description": "d", "weight": 1, "bands": dict.fromkeys(BANDS, "b")}
                for it in ("sparkle", "form")
            ]
            return json.dumps({"criteria": criteria, "constraints": []})
        if kind == "verdict":
            a, b = (self.score(fences[name]) for name in ("TEXT A", "TEXT B"))
            return "[[A]]" if a > b else "[[B]]" if b > a else "[[C]]"
        score = self.score(fences["TEXT"])
        names = ("sparkle", "form") if "sparkle" in content else QUALITIES
        return json.dumps({"scores": dict.fromkeys(names, score if "sparkle" in content else (score + 1) // 2)})

    def score(self, text):
        return SCORES[text.removeprefix("A story by ").partition(",")[0]]


@pytest.fixture
def models(tmp_path, serve, reply):
    found = Models(reply)
    server = serve(found)
    entry = {"base_url": server.url, "retries": 0, "prices": {"prompt": 1000.0, "completion": 1000.0}}
    names = (*SCORES, "judge", "other")
    Path("models.yaml").write_text(yaml.safe_dump({name: {**entry, "model": name} for name in names}))
    Path("pool.csv").write_text("id,prompt\n" + "".join(f"p{n},Write about the {n} seas.\n" for n in range(5)))
    row = {"id": "lbw-000", "prompt": "Write 100 words on tea.", "type": "News Report", "length": 100}
    Path("lbw.jsonl").write_text(json.dumps(row) + "\n")
    Path("study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return found


def study(command, *flags):
    with pytest.raises(SystemExit) as ended:
        main(["study", command, "study.yaml", *flags])
    return ended.value.code or 0


@pytest.fixture
def said(capsys):
    """What a command that works prints, with single spaces."""

    def said_(command, *flags):
        assert study(command, *flags) == 0
        return " ".join(capsys.readouterr().out.split())

    return said_


def test_a_study_of_served_models_runs_to_its_tables_and_page_and_asks_nothing_twice(models, said, capsys):
    assert study("table") == 2
    assert "runs/served: no such folder; `longform study run study.yaml` makes it" in capsys.readouterr().err
    begin = "next longform study run study.yaml"
    assert "done 0 of 17 remaining -:--:-- next task collected: prompts cost 0 (no calls)" in (shown := said("status"))
    assert shown.endswith(begin)
    assert "tasks 17 done 0 measurements 10" in (shown := said("run", "--dry-run"))
    assert shown.endswith(begin)
    assert models.asked == dict.fromkeys(models.asked, 0) and not Path("runs").exists()

    assert said("run") == "tasks 17 cost 0.5850 (39 calls) path runs/served next longform study table study.yaml"
    # Criteria for the prompts that are not held out; texts of 2 arms for 2 of these, of 3 models for the 2 held-out ones and
    # of 2 arms for the benchmark's, which 2 judges grade; 2 arms meet `anchor` twice, in both orders.
    assert models.asked == {
        "criteria": 3,
        "writer": 2 * 2 + 3 * 2 + 2,
        "grade": 2 * 2 + 2 * 2,
        "verdict": 2 * 2 * 2 * 2,
    }
    assert said("run").startswith("tasks 17 cost 0.5850 (39 calls)")
    means, *differences = json.loads(said("table", "--json"))["tables"]
    plain, better = means["rows"]
    for row, grade, won in ((plain, 4.0, 0.0), (better, 8.0, 1.0)):
        assert (row["grade"]["estimate"], row["won"]["estimate"]) == (grade, won)
    assert plain["Elo"]["estimate"] < 1000 < better["Elo"]["estimate"]
    assert plain["longbench-write, judge"]["estimate"] < better["longbench-write, judge"]["estimate"]
    assert differences[0]["title"] == "grade: difference from plain, paired by seed and prompt"
    assert said("table").endswith("path runs/served/served.findings.json next longform view runs/served")
    assert study("table", "--format", "markdown") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("**served: after the last step**\n") and "next" not in shown.out
    assert "longform view runs/served" in shown.err
    assert said("plot") == "curves 0 path runs/served/served.html"
    assert "served: after the last step" in Path("runs/served/served.html").read_text()
    status = json.loads(said("status", "--json"))
    assert (status["done"], status["tasks"], status["calls"]["calls"]) == (17, 17, 39)
    assert said("status").endswith(
        "next task none cost 0.5850 (39 calls) path runs/served next longform study table study.yaml"
    )
    assert sum(models.asked.values()) == 39


def test_a_study_stops_where_answers_are_missing_and_goes_on_with_them(models, said, capsys):
    Path("study.yaml").write_text(
        yaml.safe_dump({**STUDY, "examine": STUDY["examine"][:2], "tables": []}, sort_keys=False)
    )
    for kind, errors, message in (
        (
            "criteria",
            1,
            r"asked, seed 1: criteria: \S*prompts.jsonl: 1 prompts have no criteria; run the same command again",
        ),
        (
            "writer",
            1,
            r"plain, seed 1: responses of weak: \S*responses.jsonl: 1 responses are missing \(server_error 1\); run",
        ),
        ("grade", 2, r"plain, seed 1: grade: "),
        ("verdict", 4, r"plain, seed 1: won: \S*: no comparison has a verdict in both orders; .*try later"),
    ):
        models.errors[kind] = errors
        assert study("run") == 3, kind
        assert re.search(message, capsys.readouterr().err), kind
        assert models.errors[kind] == 0
    assert said("run").startswith("tasks 11 ")
    assert models.asked == {
        "criteria": 3 + 1,
        "writer": 2 * 2 + 3 * 2 + 1,
        "grade": 2 * 2 + 2,
        "verdict": 2 * 2 * 2 + 4,
    }
