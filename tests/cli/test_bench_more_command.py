"""`longform bench run` on creative-writing, arena-write and longbench-v2: whole commands against a judge on the loopback."""

import json
from pathlib import Path

import pytest

from longform.cli import main
from longform.judging.answers import read_fences
from longform.judging.margins import ASPECTS
from longform.judging.rubrics import CREATIVE_WRITING


def dump(path, rows):
    Path(path).write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")


def replied(request, number):
    """Likes texts with "fine" in them; says nothing of use on "odd" ones; as a writer it always takes choice A."""
    content = request["messages"][0]["content"]
    if "<<<" not in content:
        return "The correct answer is (A)" if "Choices:" in content else "A fine text."
    texts = read_fences(content)
    if "TEXT" in texts:
        if "odd" in texts["TEXT"]:
            return "Overall: 20\nCoherent: 20"
        value = 18 if "fine" in texts["TEXT"] else 8
        scores = {name: 20 - value if name in CREATIVE_WRITING.faults else value for name in CREATIVE_WRITING.criteria}
        return f"Chapter 1: 3\n{json.dumps({'scores': scores})}"
    better = "A" if "fine" in texts["TEXT A"] else "B"
    if "plus signs" in content:
        return json.dumps({"scores": dict.fromkeys(ASPECTS, f"{better}++")})
    return f"So: [[{better}]]"


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(replied)
    Path("models.yaml").write_text(
        f"judge: {{base_url: '{server.url}', model: j-1, retries: 0}}\n"
        f"scribe: {{base_url: '{server.url}', model: s-1, retries: 0}}\n"
    )
    stories = {str(i): {"writing_prompt": f"Story {i}. <SEED>", "seed_modifiers": ["Rain."]} for i in (1, 2)}
    Path("cw.json").write_text(json.dumps(stories), encoding="utf-8")
    baselines = {"big": "A big text.", "small": "A small text."}
    task = {"type": "Essay", "length": 200, "baseline_response": baselines}
    dump("aw.jsonl", [task | {"idx": i, "question": f"Write {i}."} for i in range(3)])
    question = {"domain": "Code", "difficulty": "easy", "length": "short", "context": "Text."}
    question |= {f"choice_{letter}": letter for letter in "ABCD"}
    rows = [question | {"_id": f"q{i}", "question": f"Q{i}?", "answer": "AB"[i % 2]} for i in range(6)]
    Path("lb.json").write_text(json.dumps(rows), encoding="utf-8")
    return server


def bench(command):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *command.split()])
    return caught.value.code or 0


def arena(command, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["arena", *command.split(), "--json"])
    assert not caught.value.code
    return json.loads(capsys.readouterr().out)["standings"]


def responses(path, model, ids, text):
    dump(path, [{"prompt_id": name, "model": model, "text": text} for name in ids])


def result(out="out"):
    return json.loads(Path(out, "result.json").read_text(encoding="utf-8"))


def tables():
    return {table["title"]: table["rows"] for table in result()["tables"]}


def test_stories_are_scored_then_compared_and_nothing_is_asked_twice(server, capsys):
    ids = [f"{item}#{number}" for number in (1, 2, 3) for item in (1, 2)]
    responses("a.jsonl", "dull", ids, "A text.")
    responses("b.jsonl", "good", ids, "A fine text.")
    command = "run creative-writing --set cw.json --responses a.jsonl b.jsonl --judge judge --out out"
    assert bench(command) == 0
    shown = capsys.readouterr().out
    assert "EQ-Bench creative writing v3\n" in shown
    assert "partial  no" in shown
    assert "longform arena out/games.jsonl  # --anchor NAME=RATING" in shown
    assert len(server.requests) == 12 + 12
    assert result()["judge"]["settings"] == {"max_tokens": 1000, "temperature": 0, "top_p": 1, "retries": 2}
    assert result()["judge"]["comparing"] == {"max_tokens": 2048, "temperature": 0, "top_p": 1, "retries": 2}
    found = tables()
    means = {row["model"]: row["score"]["estimate"] for row in found["EQ-Bench creative writing v3"]}
    assert means == {"dull": pytest.approx(40), "good": pytest.approx(90)}
    ratings = found["Pairwise stage: ratings"]
    assert [(row["model"], row["win rate"]["estimate"], row["games"]) for row in ratings] == [
        ("good", 1, 6),
        ("dull", 0, 6),
    ]
    rated = {row["model"]: (row["rating"], row["win rate"]) for row in ratings}
    assert {it["model"]: (it["rating"], it["win_rate"]) for it in arena("out/games.jsonl", capsys)} == rated
    arena("out/games.jsonl --control-length --responses a.jsonl b.jsonl", capsys)
    arena("out/games.jsonl --control-length", capsys)  # a model's text is always the same: nothing to control
    standings = arena("out/games.jsonl --anchor dull=1200", capsys)
    assert [(it["model"], it["games"]) for it in standings] == [("good", 6), ("dull", 6)]
    assert bench(command) == 0
    assert len(server.requests) == 24


def test_an_answer_of_stray_lines_is_missing_and_named(server, capsys):
    texts = {"1#1": "An odd text.", "2#1": "A fine text."}
    dump("a.jsonl", [{"prompt_id": name, "model": "m", "text": text} for name, text in texts.items()])
    assert bench("run creative-writing --set cw.json --responses a.jsonl --judge judge --out out") == 0
    shown = capsys.readouterr().out
    assert "partial: m: responses to 2 of 6 prompts" in shown
    assert "partial: judge: 1 of 2 answers; missing: no_answer 1" in shown
    assert len(server.requests) == 1 + 3
    (row,) = tables()["EQ-Bench creative writing v3"]
    assert (row["score"]["estimate"], row["n"]) == (pytest.approx(90), 1)


def test_a_writer_meets_the_baselines(server, capsys):
    assert bench("run arena-write --set aw.jsonl --writer scribe --judge judge --out out") == 0
    capsys.readouterr()
    assert len(server.requests) == 3 + 3 * 2 * 2
    found = tables()
    (row,) = found["Arena-Write"]
    assert (row["model"], row["win rate"]["estimate"], row["n"]) == ("scribe", 100, 12)
    assert {row["model"] for row in found["Ratings with the baselines"]} == {"scribe", "big", "small"}
    assert result()["partial"] == []
    standings = arena("out/games.jsonl --anchor big=1300 --judge judge", capsys)
    assert {it["model"]: it["games"] for it in standings} == {"scribe": 12, "big": 6, "small": 6}
    assert next(it["rating"]["estimate"] for it in standings if it["model"] == "big") == pytest.approx(1300)
    arena("out/games.jsonl --control-length", capsys)  # baselines stand in no file of responses


@pytest.mark.parametrize(("form", "starts"), [("markdown", ("|", "**")), ("latex", ("%", "\\", "{}"))])
def test_standard_output_is_the_document_alone_in_other_forms(server, capsys, form, starts):
    command = f"run arena-write --set aw.jsonl --writer scribe --judge judge --out out --format {form}"
    assert bench(command) == 0
    captured = capsys.readouterr()
    assert "path     out\n" in captured.err
    assert "longform arena out/games.jsonl" in captured.err
    assert "path     out" not in captured.out
    paragraphs = captured.out.split("\n\n") if form == "markdown" else captured.out.split("\n")
    assert sum(it.startswith(starts) for it in paragraphs) > 5
    assert not any(it.startswith(("next ", "cost ", "path ", "partial ")) for it in captured.out.splitlines())


def test_long_questions_need_no_judge_and_two_models_are_before_and_after(server, capsys):
    ids = [f"q{i}" for i in range(6)]
    responses("a.jsonl", "base", ids, "")
    assert bench("run longbench-v2 --set lb.json --writer scribe --out written") == 0
    assert len(server.requests) == 6
    assert server.requests[0]["max_tokens"] == 128
    assert bench("run longbench-v2 --set lb.json --responses a.jsonl written/responses.jsonl --out out") == 0
    shown = capsys.readouterr().out
    assert "Before and after: base and scribe" in shown
    found = tables()
    assert [row["accuracy"]["estimate"] for row in found["LongBench v2"]] == [0, 50]
    every = found["Before and after: base and scribe"][0]
    assert (every["n"], every["gained"], every["lost"], every["p"]) == (6, 3, 0, 0.25)


def test_an_answer_that_came_empty_is_a_wrong_one_and_no_gap(server, reply, capsys):
    def script(request, number):
        return reply("" if "Q1?" in request["messages"][0]["content"] else "The correct answer is (A)")

    server.script = script
    command = "run longbench-v2 --set lb.json --writer scribe --out out"
    assert bench(command) == 0
    (row,) = tables()["LongBench v2"]
    assert (row["accuracy"]["estimate"], row["n"]) == (50, 6)
    assert result()["partial"] == []
    assert "scribe: 1 empty and 0 without a choice, counted as wrong" in capsys.readouterr().out
    asked = len(server.requests)
    assert bench(command) == 0
    assert len(server.requests) == asked


def test_what_does_not_go_together_is_one_line(server, capsys):
    responses("a.jsonl", "m", ["q0"], "x")
    responses("b.jsonl", "big", ["0"], "x")
    for command, words in (
        ("run longbench-v2 --set lb.json --responses a.jsonl --judge judge --out out", "needs no judge"),
        ("run longbench-v2 --set aw.jsonl --responses a.jsonl --out out", "the fields match arena-write"),
        ("run creative-writing --set lb.json --responses a.jsonl --judge judge --out out", "longbench-v2"),
        ("run creative-writing --set cw.json --responses a.jsonl --judge judge --out out", "q0"),
        ("run arena-write --set aw.jsonl --responses b.jsonl --judge judge --out out2", "same name as a baseline"),
    ):
        assert bench(command) == 2
        *progress, error = capsys.readouterr().err.strip().split("\n")
        assert words in error
        assert error.startswith("longform: ")
        assert progress in ([], ["judging with judge ..."])
    assert server.requests == []


def test_a_set_that_asks_for_the_same_text_twice_is_refused_before_anything_is_written(server, capsys):
    task = {"task": "Write {word_count_type} {word_count} words.", "type": "t", "category": "c", "lang": "en"}
    dump("life.jsonl", [task | {"lengths": [16, 32, 16], "methods": ["at most"]}])
    assert bench("run lifebench --set life.jsonl --writer scribe --out out") == 2
    assert "life.jsonl: asks for two texts with the id" in capsys.readouterr().err
    assert not server.requests and not Path("out").exists()
