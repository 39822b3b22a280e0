"""`longform bench run` on longform-writing, hellobench and lifebench: whole commands against the loopback, and the price."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts import save_policy
from longform.cli import main
from longform.judging.answers import read_fences
from longform.judging.novellas import TURNS
from longform.judging.rubrics import CHAPTER, NOVELLA
from longform.miniature.policy import build_model, build_tokenizer


def dump(path, rows):
    Path(path).write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")


def turn_of(request):
    """The turn that a writer is asked for, by the number of turns before it."""
    return TURNS[len(request["messages"]) // 2]


def is_judged(request):
    return "<<<" in request["messages"][-1]["content"]


def replied(request, number):
    """As a judge: 15 of 20 for chapters, 10 for the whole, and 0.75 on checklists; as a writer it names the turn."""
    content = request["messages"][-1]["content"]
    if not is_judged(request):
        return f"This is the {turn_of(request)}."
    texts = read_fences(content)
    if "CHECKLIST" in texts:
        return f"So.\n{json.dumps({'scores': dict.fromkeys('12345', 0.75)})}"
    rubric, value = (CHAPTER, 15) if "CHAPTER" in texts else (NOVELLA, 10)
    scores = {name: None if "Metaphor" in name else value for name in rubric.criteria}
    scores |= {name: 20 - value for name in rubric.faults if scores[name] is not None}
    return json.dumps({"scores": scores})


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(replied)
    prices = "prices: {prompt: 1000, completion: 1000}"
    Path("models.yaml").write_text(
        f"judge: {{base_url: '{server.url}', model: j-1, retries: 0, {prices}}}\n"
        f"scribe: {{base_url: '{server.url}', model: s-1, retries: 0, {prices}}}\n"
    )
    stories = {str(i): {"writing_prompt": f"Story {i}.", "category": "Noir", "title": f"T{i}"} for i in (1, 2)}
    Path("stories.json").write_text(json.dumps(stories), encoding="utf-8")
    checklist = {"checklists": [f"Is it good, {number}?" for number in range(5)]}
    rows = [checklist | {"id": f"h{i}", "category": "story_writing", "instruction": f"Write {i}."} for i in range(3)]
    dump("hello.jsonl", rows)
    task = "Write a text, {word_count_type} {word_count} words long."
    dump("life.jsonl", [{"task": task, "type": "t", "category": "c", "lang": "en", "lengths": [4, 8]}])
    return server


def bench(command):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *command.split()])
    return caught.value.code or 0


def result(out="out"):
    return json.loads(Path(out, "result.json").read_text(encoding="utf-8"))


def tables(out="out"):
    return {table["title"]: table["rows"] for table in result(out)["tables"]}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


STORIES = "run longform-writing --set stories.json --writer scribe --judge judge --out out"


def test_stories_are_written_turn_by_turn_and_judged_by_chapter_and_as_a_whole(server, capsys):
    assert bench(STORIES) == 0
    shown = capsys.readouterr()
    written = [request for request in server.requests if not is_judged(request)]
    assert len(written) == 2 * 13
    assert len(server.requests) == 2 * 13 + 2 * 9
    (last,) = [it for it in written if turn_of(it) == "chapter-8" and "Story 2." in it["messages"][0]["content"]]
    assert [it["content"] for it in last["messages"][1::2]] == [f"This is the {turn}." for turn in TURNS[:-1]]
    assert {it["max_tokens"] for it in written} == {4000}
    (row,) = tables()["EQ-Bench longform writing"]
    assert row["score"]["estimate"] == pytest.approx((8 * 75 + 50) / 9)
    assert result()["partial"] == []
    assert result()["judge"]["settings"]["max_tokens"] == 16_000
    assert {it["prompt_id"]: it["score"] for it in lines("out/scores.jsonl")} == {
        "1": pytest.approx(650 / 9),
        "2": pytest.approx(650 / 9),
    }
    assert "the writer writes at most 26 texts of up to 4,000 tokens" in shown.err
    assert "the judge gets at most 18 questions" in shown.err
    assert bench(STORIES) == 0
    assert len(server.requests) == 2 * 13 + 2 * 9


def test_a_story_that_was_interrupted_is_continued_at_its_chapter(server, reply, capsys):
    broken = [True]

    def script(request, number):
        is_second = "Story 2." in request["messages"][0]["content"]
        if broken[0] and is_second and not is_judged(request) and turn_of(request) == "chapter-4":
            return reply("no", status=500)
        return replied(request, number)

    server.script = script
    assert bench(STORIES) == 0
    assert "partial: scribe: responses to 21 of 26 prompts; missing: server_error 1" in capsys.readouterr().out
    (row,) = tables()["EQ-Bench longform writing"]
    assert row["n score"] == 1
    before = len(server.requests)
    broken[0] = False
    assert bench(STORIES) == 0
    after = server.requests[before:]
    assert [turn_of(it) for it in after if not is_judged(it)] == [f"chapter-{number}" for number in range(4, 9)]
    assert sum(map(is_judged, after)) == 9
    assert tables()["EQ-Bench longform writing"][0]["n score"] == 2


def test_a_command_that_was_killed_writes_only_what_was_in_flight_again(server, reply):
    def slowly(request, number):
        return reply(replied(request, number), delay=30.0 if number > 14 else 0.0)

    server.script = slowly
    child = subprocess.Popen([sys.executable, "-m", "longform", "bench", *STORIES.split()], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(server.requests) < 16 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    server.script = replied
    assert len(server.requests) == 16
    assert bench(STORIES) == 0
    asked = [json.dumps(request["messages"]) for request in server.requests]
    assert len(asked) == 2 * 13 + 2 * 9 + 2
    assert len(set(asked)) == 2 * 13 + 2 * 9
    assert result()["partial"] == []


def test_an_empty_chapter_ends_a_story(server):
    server.script = lambda request, number: (
        "" if not is_judged(request) and turn_of(request) == "chapter-2" else replied(request, number)
    )
    assert bench(STORIES) == 0
    assert {it["prompt_id"].partition("#")[2] for it in lines("out/responses.jsonl")} == set(TURNS[:7])
    (row,) = tables()["EQ-Bench longform writing"]
    assert row["score"]["estimate"] == pytest.approx((75 + 50) / 9)


def test_texts_of_other_tools_are_scored_by_turn(server):
    dump("a.jsonl", [{"prompt_id": f"1#{turn}", "model": "m", "text": f"A {turn}."} for turn in TURNS])
    assert bench("run longform-writing --set stories.json --responses a.jsonl --judge judge --out out") == 0
    assert tables()["EQ-Bench longform writing"][0]["n score"] == 1


@pytest.fixture(scope="module", params=[4096, 800])
def model(tmp_path_factory, request):
    """Its context takes in a whole conversation, or the first turns of it."""
    folder = tmp_path_factory.mktemp("model") / f"small-{request.param}"
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=0)
    model.config.max_position_embeddings = request.param
    save_policy(model, tokenizer, folder)
    return folder


def test_a_local_model_writes_in_one_conversation_and_repeats_no_turn(server, model, capsys):
    command = f"run longform-writing --set stories.json --writer {model} --max-tokens 6 --judge judge --out out"
    assert bench(command) == 0
    path = Path("out/responses.jsonl")
    rows = {row["prompt_id"]: row for row in lines(path)}
    is_whole = model.name == "small-4096"
    assert ("1#chapter-8" in rows, "1#critique" in rows) == (is_whole, True)
    assert ("missing: too_long 2" in capsys.readouterr().out) == (not is_whole)
    asked = len(server.requests)
    assert asked == (2 * 9 if is_whole else 0)
    last = "2#chapter-8" if is_whole else "2#critique"
    dump(path, [row for row in rows.values() if row["prompt_id"] != last])
    assert bench(command) == 0
    assert {row["prompt_id"]: row for row in lines(path)} == rows
    assert len(server.requests) == asked


def test_checklists_are_judged_in_one_question_and_weighted(server, capsys):
    assert bench("run hellobench --set hello.jsonl --writer scribe --judge judge --out out") == 0
    assert len(server.requests) == 3 + 3
    (row,) = tables()["HelloBench: heuristic text generation"]
    assert (row["score"]["estimate"], row["met"]["estimate"]) == (pytest.approx(0, abs=1e-9), pytest.approx(75))
    assert result()["judge"]["settings"] == {"max_tokens": 4096, "temperature": 0.8, "top_p": 1, "retries": 2}
    assert [it["prompt_id"] for it in lines("out/scores.jsonl")] == ["h0", "h1", "h2"]


def test_lengths_need_no_judge(server, capsys):
    server.script = lambda request, number: "one two three four"
    assert bench("run lifebench --set life.jsonl --writer scribe --out out") == 0
    rows = {row["asked for"]: row for row in tables()["LIFEBench"]}
    assert rows["at most"]["score"]["estimate"] == 100
    assert rows["equal to"]["score"]["estimate"] == pytest.approx((100 + 100 * 2.718281828 ** (-2.5)) / 2)
    assert {request["messages"][0]["content"] for request in server.requests} >= {"Write a text, at most 8 words long."}
    assert lines("out/scores.jsonl")[0]["prompt_id"].startswith("life-")


@pytest.mark.parametrize(
    ("command", "texts", "questions"),
    [
        ("run longform-writing --set stories.json --judge judge", 26, 18),
        ("run hellobench --set hello.jsonl --judge judge", 3, 3),
        ("run lifebench --set life.jsonl", 6, None),
    ],
)
def test_a_dry_run_has_the_price_and_makes_no_call(server, capsys, command, texts, questions):
    assert bench(f"{command} --writer scribe --out out --dry-run --json") == 0
    price = json.loads(capsys.readouterr().out)
    assert price["writing"]["texts"] == texts and price["writing"]["cost"] > 0
    assert (price["judging"] and price["judging"]["questions"]) == questions
    assert not server.requests
    assert not Path("out").exists()
    assert bench(f"{command} --writer scribe --out out --dry-run") == 0
    assert re.search(rf"writing +the writer writes at most {texts} texts", capsys.readouterr().out)


def test_the_price_of_existing_texts_is_that_of_their_questions(server, capsys):
    dump("a.jsonl", [{"prompt_id": "h0", "model": "m", "text": "A text."}])
    assert bench("run hellobench --set hello.jsonl --responses a.jsonl --judge judge --out out --dry-run --json") == 0
    price = json.loads(capsys.readouterr().out)
    assert price["writing"] is None and price["judging"]["questions"] == 1
    assert bench("run hellobench --set hello.jsonl --responses a.jsonl --judge jugde --out out --dry-run") == 2
    assert "jugde" in capsys.readouterr().err
