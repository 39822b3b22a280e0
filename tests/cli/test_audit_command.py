"""`longform audit`: from recorded verdicts without a network, live and resumed, and bad input in one line each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from longform.cli import main
from longform.judging.answers import read_fences

PAIRS = 40


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(rows, name="pairs.jsonl"):
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def row(number, **fields):
    """The better text holds `fine`; judge `first` takes the first text, `right` the better one."""
    better = "ab"[number % 2]
    texts = {f"response_{it}": f"{'fine' if it == better else 'dull'} text {number}" for it in "ab"}
    verdicts = {"first": {"ab": "a", "ba": "b"}, "right": {"ab": better, "ba": better}}
    base = {"id": f"p{number}", "prompt": f"Write {number}.", "label": better, "verdicts": verdicts, "source": "test"}
    return base | texts | fields


def audit(*flags):
    with pytest.raises(SystemExit) as caught:
        main(["audit", "pairs.jsonl", *flags])
    return caught.value.code or 0


def audit_json(capsys, *flags):
    assert audit(*flags, "--json", "--resamples", "100") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def live(serve):
    def judge(request, number):
        return "[[A]]" if "fine" in read_fences(request["messages"][0]["content"])["TEXT A"] else "[[B]]"

    server = serve(judge)
    spec = f"{{base_url: '{server.url}', model: m, retries: 0, prices: {{prompt: 1000, completion: 1000}}}}"
    Path("models.yaml").write_text(f"live: {spec}\nother: {spec.replace('model: m', 'model: n')}\n")
    return server


def test_recorded_verdicts_need_no_models_and_no_network(capsys, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was made"))
    write(row(number) for number in range(PAIRS))
    found = audit_json(capsys)
    judges = {it["judge"]: it for it in found["judges"]}
    assert judges["first"]["figures"]["consistent_and_correct"]["value"]["estimate"] == 0.0
    assert judges["first"]["figures"]["first_lead"]["value"] == {"estimate": 0.5, "low": 0.5, "high": 0.5}
    assert judges["first"]["figures"]["follows_both_orders"]["value"]["estimate"] is None
    assert judges["first"]["advice"]["use"] == "do not train"
    assert judges["right"]["figures"]["accuracy"] == {
        "value": {"estimate": 1.0, "low": 1.0, "high": 1.0},
        "n": 2 * PAIRS,
        "prompts": PAIRS,
    }
    assert judges["right"]["advice"]["use"] == "second"
    assert [(it["one"], it["other"]) for it in found["between"]["pairs"]] == [
        ("first", "right"), ("first", "humans"), ("right", "humans"),
    ]  # fmt: skip


def test_tables_show_numbers_with_intervals_and_advice(capsys):
    write(row(number) for number in range(PAIRS))
    assert audit("--resamples", "100") == 0
    said = capsys.readouterr().out
    assert "consistent and correct" in said
    assert "0.500 (0.500 to 0.500)" in said
    assert "do not train" in said
    assert "longform train RECIPE --set rewards.pairwise.judge=right --set rewards.pairwise.position=second" in said
    assert audit("--format", "markdown", "--resamples", "100") == 0
    assert "| judge | use | why |" in capsys.readouterr().out


def test_without_labels_agreement_is_left_out_and_it_is_said(capsys):
    write(row(number, label=None) for number in range(PAIRS))
    assert audit("--resamples", "100") == 0
    said = capsys.readouterr().out
    assert "No pair is labelled by people, so agreement with people was not measured." in said
    assert "Agreement with people\n" not in said
    assert "longform train" not in said


def test_pairs_behind_a_number_are_shown_without_control_characters(capsys):
    write([row(0, response_a="fine \x1b[31mred", verdicts={"j": {"ab": "b", "ba": "b"}}), row(1), row(2)])
    assert audit("--show", "wrong", "1", "--resamples", "10") == 0
    said = capsys.readouterr().out
    assert "j  p0  label a, ab b, ba b\n  a: fine  [31mred\n" in said
    assert "\x1b" not in said
    found = audit_json(capsys, "--show", "inconsistent", "5")
    assert [(it["judge"], it["id"]) for it in found["shown"]] == [("first", "p1"), ("first", "p2")]


@pytest.mark.parametrize(
    ("form", "shown", "raw"),
    [("markdown", r"\<script\>", "<script>"), ("latex", r"\textbackslash{}input\{x\}", r"\input{")],
)
def test_pairs_in_markdown_and_latex_are_escaped_and_stand_in_tables_alone(capsys, form, shown, raw):
    text = "fine \x1b[31m<script> \\input{x}"
    write([row(0, response_a=text, verdicts={"j": {"ab": "b", "ba": "b"}}), row(1), row(2)])
    assert audit("--show", "wrong", "1", "--resamples", "10", "--format", form) == 0
    told = capsys.readouterr().out
    assert shown in told
    assert raw not in told
    assert "\x1b" not in told
    assert "labelled  3" not in told


def test_what_is_asked_at_most_is_said_before_it_is_asked(live, capsys):
    write(row(number, verdicts=None) for number in range(6))
    live.script = lambda request, number: pytest.fail("asked before it was said") if not said() else "[[A]]"
    seen = []

    def said():
        seen.append(capsys.readouterr().err)
        return "at most 24 questions for verdicts and 8 for attacks on 2 pairs (--attacks 0 disables them)" in "".join(
            seen
        )

    flags = ("--judge", "live", "--judge", "other", "--out", "out.jsonl", "--repeat", "1", "--attacks", "2")
    assert audit(*flags, "--resamples", "10") == 0
    assert "each of 2 judges gets at most" in "".join(seen)
    assert audit("--judge", "live", "--out", "out.jsonl", "--attacks", "0", "--resamples", "10") == 0
    alone = capsys.readouterr().err
    assert "the judge gets at most 12 questions for verdicts; recorded answers are not requested again" in alone
    assert "attacks" not in alone


def test_json_is_a_format_as_well(capsys):
    write(row(number) for number in range(PAIRS))
    found = audit_json(capsys)
    assert audit("--format", "json", "--resamples", "100") == 0
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(("pairs", "warned"), [(19, True), (20, False)])
def test_few_prompts_are_warned_of(capsys, pairs, warned):
    write(row(number) for number in range(pairs))
    assert audit("--resamples", "10") == 0
    assert ("Intervals from fewer than 20 prompts are too narrow." in capsys.readouterr().out) == warned


def test_one_prompt_has_numbers_without_an_interval_and_says_why(capsys):
    write([row(0)])
    found = audit_json(capsys)["judges"][0]["figures"]["consistency"]
    assert found == {
        "value": {"estimate": 0.0, "low": None, "high": None, "no_interval": "a single prompt"},
        "n": 1,
        "prompts": 1,
    }
    assert audit("--resamples", "10") == 0
    assert "0.000 (a single prompt)" in capsys.readouterr().out


def test_live_judges_are_asked_recorded_and_resumed(live, capsys):
    write(row(number, verdicts=None) for number in range(6))
    flags = ("--judge", "live", "--judge", "other", "--out", "out.jsonl", "--repeat", "1", "--attacks", "2")
    first = audit_json(capsys, *flags)
    asked = len(live.requests)
    assert asked == 2 * (6 * 2 * 2 + 2 * 2 * 2)
    assert first["cost"] == f"{asked * 0.015:.4f} ({asked} calls)"
    figures = {it["judge"]: it["figures"] for it in first["judges"]}
    assert set(figures) == {"live", "other"}
    assert figures["live"]["retest"]["n"] == 12
    assert figures["live"]["attack_effect"]["n"] == 4
    assert figures["live"]["cost"]["value"]["estimate"] == pytest.approx(0.015)
    rows = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert [it["source"] for it in rows] == ["test"] * 6
    assert rows[1]["verdicts"]["live"] == {"ab": "b", "ba": "b"}
    assert rows[1]["judge_model"] == {"live": "m", "other": "n"}
    assert audit_json(capsys, *flags) == first
    assert len(live.requests) == asked
    write(rows)
    again = audit_json(capsys)
    assert {name: again[name] for name in ("judges", "between", "panel")} == {
        name: first[name] for name in ("judges", "between", "panel")
    }


def test_a_parquet_file_holds_the_same(live, capsys):
    write(row(number, verdicts=None) for number in range(4))
    first = audit_json(capsys, "--judge", "live", "--out", "out.parquet", "--attacks", "1")
    with pytest.raises(SystemExit):
        main(["audit", "out.parquet", "--json", "--resamples", "100"])
    assert json.loads(capsys.readouterr().out)["judges"] == first["judges"]


def test_a_spent_budget_stops_and_the_same_command_goes_on(live, capsys):
    write(row(number, verdicts=None) for number in range(20))
    flags = ("--judge", "live", "--out", "out.jsonl", "--attacks", "0")
    assert audit(*flags, "--budget", "0.1") == 3
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert "budget of 0.1 spent" in error
    assert not Path("out.jsonl").exists()
    paid = len(live.requests)
    assert paid < 40
    assert audit_json(capsys, *flags)["judges"][0]["pairs"] == 20
    assert len(live.requests) == 40


def test_what_another_judge_was_asked_before_stays(live, capsys):
    write(row(number) for number in range(4))
    flags = ("--out", "out.jsonl", "--repeat", "1", "--attacks", "1")
    before = {it["judge"]: it for it in audit_json(capsys, *flags, "--judge", "live")["judges"]}
    after = {it["judge"]: it for it in audit_json(capsys, *flags, "--judge", "other")["judges"]}
    assert after.keys() == {"first", "right", "live", "other"}
    assert {name: after[name] for name in before} == before
    held = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert {judge for it in held for judge in it["verdicts"]} == after.keys()
    assert held[0]["judge_model"]["live"] == "m"


@pytest.mark.parametrize(
    ("out", "held", "said"),
    [
        ("pairs.jsonl", None, "--out pairs.jsonl: would overwrite pairs.jsonl"),
        ("folder", None, "--out folder: is a folder; name a file"),
        (".", None, "--out .: is a folder"),
        ("", None, "--out .: is a folder"),
        ("/", None, "--out /: is a folder"),
        ("out.jsonl", row(7), "--out: out.jsonl has pair 'p7', which is not among the pairs"),
        ("out.jsonl", row(0, response_a="other"), "--out: out.jsonl has pair 'p0' with other texts"),
        ("out.jsonl", {"id": "x"}, "out.jsonl:1: prompt"),
    ],
)
def test_an_out_that_would_lose_something_is_refused_before_a_call(live, capsys, out, held, said):
    Path("folder").mkdir()
    write([row(0)])
    if held is not None:
        write([held], out)
    assert audit("--judge", "live", "--out", out) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not live.requests


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ([], "", "pairs.jsonl: contains no rows"),
        ([row(0, verdicts=None)], "", "pairs.jsonl: no verdicts; request some with --judge"),
        ([row(0), row(0)], "", "pairs.jsonl:2: id='p0': duplicate key, first in row 1"),
        ([row(0, response_b=" \n")], "", "pairs.jsonl:1: response_b: the text is empty"),
        ([row(0, prompt="")], "", "pairs.jsonl:1: prompt"),
        ([row(0, label="c")], "", "pairs.jsonl:1: label: Input should be 'a', 'b' or 'tie'"),
        ([row(0, verdicts={"j": {"first": "a"}})], "", "pairs.jsonl:1: verdicts.j.first"),
        ([row(0, verdicts={"humans": {"ab": "a"}})], "", "a judge cannot be called 'humans'"),
        ([row(0)], "--judge nobody --out out.jsonl", "models.yaml: has no model 'nobody'"),
        ([row(0)], "--judge live --judge othr --out out.jsonl", "did you mean 'other'?"),
        ([row(0)], "--judge live", "--out: required with --judge; the file for the verdicts"),
        ([row(0)], "--judge live --judge live --out o.jsonl", "--judge live: listed twice"),
        ([row(0)], "--out out.jsonl", "--out: only valid with --judge"),
        ([row(0)], "--repeat 2", "--repeat: only valid with --judge"),
        ([row(0)], "--by list", "--by: needs --judge and --out, the file for the scores"),
        ([row(0)], "--by list --judge live --out out.jsonl --wording 2", "--wording: not valid with --by"),
        ([row(0)], "--by list --judge live --out out.jsonl --criteria", "--criteria: not valid with --by"),
        ([row(0)], "--by anchors --judge live --out out.jsonl", "2 to be compared; pairs have 2"),
        ([row(0)], "--by list --anchors 2 --judge live --out out.jsonl", "--anchors: only valid with --by anchors"),
        ([row(0)], "--anchors 2", "--anchors: only valid with --by anchors"),
        (
            [row(0, label=None)],
            "--by list --judge live --out out.jsonl",
            "no group has two texts with different scores",
        ),
        ([row(0)], "--by best --judge live --out out.jsonl", "--by"),
        ([row(0)], "--samples 2", "--samples: only valid with --by"),
        ([row(0)], "--show odd 2", "--show"),
        ([row(0)], "--show wrong 0", "--show"),
    ],
)
def test_bad_input_is_one_line(live, capsys, rows, flags, said):
    write(rows)
    assert audit(*flags.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not live.requests
    assert not Path("out.jsonl").exists()


def test_an_audit_loads_nothing_that_trains_or_asks():
    write(row(number) for number in range(4))
    code = (
        "import sys; from longform.cli import main\n"
        "try: main(['audit', 'pairs.jsonl', '--resamples', '10'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'aiohttp', 'scipy', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().split("\n")[-1] == "[]"


def test_wordings_are_compared_like_judges(live, capsys):
    write(row(number, prompt=f"写第{number}篇。", verdicts={}) for number in range(4))
    live_flags = ("--judge", "live", "--out", "out.jsonl", "--attacks", "0", "--resamples", "20")
    assert audit(*live_flags) == 0
    assert audit(*live_flags, "--wording", "2") == 0
    asked = [request["messages"][0]["content"] for request in live.requests]
    assert [it.startswith("你是一位") for it in asked] == [True] * 8 + [False] * 8
    said = capsys.readouterr().out
    assert "live@2" in said and "judge=live@2" not in said
    audited = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {it["judge"] for line in audited for it in line["asked"]} == {"live", "live@2"}


def test_ways_to_compare_groups_are_measured_and_the_cheapest_good_one_is_named(live, capsys):
    write(row(number) for number in range(24))
    flags = ("--by", "peer", "--by", "round-robin", "--judge", "live", "--out", "out.jsonl", "--resamples", "50")
    assert audit(*flags, "--repeat", "1") == 0
    said = capsys.readouterr().out
    assert "Ways to compare a group" in said and "live by peer" in said
    assert "rewards=[{kind: group, judge: live, by: peer}]" in said
    asked = len(live.requests)
    audited = audit_json(capsys, "--by", "peer", "--judge", "live", "--out", "out.jsonl")
    assert audited["figures"][0]["agreement"]["n"] == 24
    assert len(live.requests) == asked, "all of it is on record"


def test_an_unknown_wording_is_one_line(live, capsys):
    write(row(number) for number in range(2))
    assert audit("--judge", "live", "--out", "out.jsonl", "--wording", "9") == 2
    assert "--wording 9: unknown version; available: 1, 2, 3" in capsys.readouterr().err


def test_criteria_are_measured_by_agreement_with_and_without_them(capsys, serve):
    """The judge knows the better text where it reads criteria, and takes the first one otherwise."""

    def judge(request, number):
        fenced = read_fences(request["messages"][0]["content"])
        return "[[B]]" if "CRITERIA" in fenced and "fine" in fenced["TEXT B"] else "[[A]]"

    server = serve(judge)
    Path("models.yaml").write_text(f"live: {{base_url: '{server.url}', model: m, retries: 0}}\n")
    rows = [row(number, verdicts=None) for number in range(PAIRS)]
    write([it | ({"criteria": [{"name": "wit"}]} if n % 2 else {}) for n, it in enumerate(rows)])
    flags = ("--judge", "live", "--out", "out.jsonl", "--attacks", "0", "--criteria")
    found = audit_json(capsys, *flags)
    (gain,) = found["criteria"]
    assert gain["judge"] == "live"
    figures = {
        name: (gain[name]["value"]["estimate"], gain[name]["n"]) for name in ("with_criteria", "without", "gain")
    }
    assert figures == {"with_criteria": (1.0, PAIRS), "without": (0.5, PAIRS), "gain": (0.5, PAIRS)}
    assert {it["judge"]: it["pairs"] for it in found["judges"]} == {"live": PAIRS, "live@no-criteria": PAIRS // 2}
    assert len(server.requests) == 2 * PAIRS + PAIRS
    assert audit(*flags, "--resamples", "100") == 0
    said = capsys.readouterr()
    assert len(server.requests) == 3 * PAIRS
    assert "Agreement with people, by criteria" in said.out and "judge=live" in said.out
    assert f"at most {3 * PAIRS} questions" in said.out + said.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--criteria",), "--criteria: only valid with --judge"),
        (("--criteria", "--judge", "live", "--out", "o.jsonl"), "--criteria: no pair of pairs.jsonl has criteria"),
    ],
)
def test_criteria_need_a_judge_and_pairs_that_have_some(capsys, live, flags, said):
    write(row(number) for number in range(4))
    assert audit(*flags) == 2
    assert said in capsys.readouterr().err


def test_a_published_set_is_read_by_its_name(capsys, live):
    stories = [
        {"prompt": f"Story {n}.", "chosen_story": f"A fine story {n}.", "rejected_story": f"A dull one {n}."}
        for n in range(PAIRS)
    ]
    write(stories)
    flags = ("--preset", "litbench", "--judge", "live", "--out")
    found = audit_json(capsys, *flags, "out.jsonl", "--attacks", "0")
    assert (found["pairs"], found["labelled"]) == (PAIRS, PAIRS)
    assert found["judges"][0]["figures"]["consistent_and_correct"]["value"]["estimate"] == 1.0
    assert audit_json(capsys, *flags, "by.jsonl", "--by", "round-robin")["groups"] == PAIRS


def test_an_unknown_set_is_refused_with_the_known_ones(capsys):
    write([row(0)])
    assert audit("--preset", "litbanch") != 0
    assert "litbench" in capsys.readouterr().err
