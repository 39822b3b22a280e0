"""`longform bench`: from a set and a writer or its responses to tables and a result, started again, and what is refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longform.cli import main
from longform.evaluation.benchmarks.catalogue import BENCHMARKS
from longform.judging.answers import read_fences
from longform.judging.criteria import QUALITIES

BANDS = ("1-2", "3-4", "5-6", "7-8", "9-10")
REQUESTS = ("Write 100 words on tea.", "写一篇200字的新闻，主题是茶。", "Write 300\u2028words on tin.")


def dump(path, rows):
    Path(path).write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")


def judged(request, number):
    """What the judge says: 7 by every criterion, 4 in every quality, to a text with "odd" in it nothing of use."""
    text = read_fences(request["messages"][0]["content"])["TEXT"]
    if "odd" in text:
        return '{"scores": {"criterion": 70}}'
    if "CRITERION" in request["messages"][0]["content"]:
        return 'Fine.\n{"scores": {"criterion": 7}}'
    return f"Fine.\n{json.dumps({'scores': dict.fromkeys(QUALITIES, 4)})}"


def replied(request, number):
    content = request["messages"][0]["content"]
    return judged(request, number) if "<<<TEXT" in content else "word " * 100


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(replied)
    Path("models.yaml").write_text(
        f"judge: {{base_url: '{server.url}', model: j-1, retries: 0, prices: {{prompt: 1000, completion: 1000}}}}\n"
        f"scribe: {{base_url: '{server.url}', model: s-1, retries: 0, prices: {{prompt: 1000, completion: 1000}}}}\n"
    )
    types = ("News Report", "News Report", "Popular Science")
    lengths = (100, 200, 300)
    rows = zip(REQUESTS, types, lengths, strict=True)
    lengths_of = [{"prompt": prompt, "type": kind, "length": length} for prompt, kind, length in rows]
    dump("published.jsonl", lengths_of)
    dump("lbw.jsonl", [{"id": f"lbw-{i:03d}", **row} for i, row in enumerate(lengths_of)])
    checklist = [{"name": f"c{i}", "criteria_description": "d"} | dict.fromkeys(BANDS, "b") for i in range(5)]
    row = {"domain1": "Education", "domain2": "Coursework", "lang": "en", "checklist": checklist}
    dump("wb.jsonl", [row | {"index": i, "query": f"Query {i}."} for i in range(4)])
    return server


def bench(command):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *command.split()])
    return caught.value.code or 0


def write_responses(path, texts, ids="lbw-{:03d}", model="m"):
    dump(path, [{"prompt_id": ids.format(i), "model": model, "text": text} for i, text in enumerate(texts)])


def result(out="out"):
    return json.loads(Path(out, "result.json").read_text(encoding="utf-8"))


def test_list_says_what_there_is_and_what_is_done_otherwise(capsys):
    assert bench("list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in BENCHMARKS)
    assert re.search(r"writingbench +yes +Apache-2.0 +Real", shown)
    assert "writingbench: https://github.com/X-PLUG/WritingBench\n" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert bench("list longbench-write") == 0
    shown = capsys.readouterr().out
    assert "divides by zero" in shown
    assert "judging   max_tokens 1024, temperature 0.5, retries 4, top_p 1.0\n" in shown
    assert "template  a custom judge template must contain {request} {text}; optional: {criteria}\n" in shown
    assert shown.endswith("next  longform bench fetch longbench-write --out DIR\n")
    assert bench("list --json") == 0
    assert json.loads(capsys.readouterr().out)["longwrite-ruler"]["judge"] == "no"
    assert bench("list other") == 2


def test_responses_of_several_models_become_tables_and_a_result(server, capsys):
    write_responses("a.jsonl", ["word " * 100, "字" * 200, "word " * 300], model="exact")
    write_responses("b.jsonl", ["", "字" * 100, "word " * 299 + "end"], model="short")
    assert bench("run longbench-write --set lbw.jsonl --responses a.jsonl b.jsonl --judge judge --out out") == 0
    shown = capsys.readouterr().out
    assert "exact  87.5 (87.5 to 87.5)  100.0 (100.0 to 100.0)  75.0 (75.0 to 75.0)  3" in shown
    assert "partial  no\n" in shown
    assert len(server.requests) == 5  # the empty text is not sent
    written = result()
    assert written["benchmark"] == "longbench-write"
    assert written["set"]["name"] == "lbw.jsonl"
    assert written["set"]["prompts"] == 3
    assert len(written["set"]["sha256"]) == 64
    assert (written["judge"]["name"], written["judge"]["model"]) == ("judge", "j-1")
    assert written["judge"]["wording"] == "longform's own"
    assert written["judge"]["settings"] == {"max_tokens": 1024, "temperature": 0.5, "top_p": 1, "retries": 4}
    assert written["responses"]["models"] == {"exact": 3, "short": 3}
    assert written["deviations"] == list(BENCHMARKS["longbench-write"].card.deviations)
    assert written["cost"] == "0.0750 (5 calls)"  # 15 tokens a call
    short = written["tables"][0]["rows"][1]
    assert short["S_l"]["estimate"] == pytest.approx((0 + 50 + 100) / 3)
    assert short["S_q"]["estimate"] == pytest.approx((0 + 75 + 75) / 3)
    answers = [json.loads(line) for line in Path("out/answers.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert len(answers[0].pop("calls")) == 1
    assert answers[0] == {"about": ["lbw-000", "exact", "0"], "value": dict.fromkeys(QUALITIES, 4)}


def test_responses_with_ids_by_position_are_understood_and_no_question_is_asked_again(server, capsys):
    write_responses("a.jsonl", ["word " * 100, "字" * 200, "word " * 300])
    command = "run longbench-write --set published.jsonl --responses a.jsonl --judge judge --out out"
    assert bench(command) == 0
    assert "name prompts by position, such as lbw-000: taken as positions in published.jsonl" in capsys.readouterr().err
    first, asked = result(), len(server.requests)
    assert bench(command) == 0
    assert (result(), len(server.requests)) == (first, asked)


def test_a_writer_that_began_with_ids_by_position_goes_on_with_them(server, capsys):
    command = "run longwrite-ruler --set published.jsonl --writer scribe --out out"
    assert bench(command) == 0
    rows = [json.loads(line) for line in Path("out/responses.jsonl").read_text().split("\n") if line]
    dump("out/responses.jsonl", [row | {"prompt_id": f"lwr-{i:03d}"} for i, row in enumerate(rows)])
    asked = len(server.requests)
    assert bench(command) == 0
    assert "such as lwr-000" in capsys.readouterr().err
    assert len(server.requests) == asked


def test_a_writer_writes_first_and_nothing_is_asked_twice(server, capsys):
    command = "run writingbench --set wb.jsonl --writer scribe --judge judge --out out --max-tokens 500"
    assert bench(command) == 0
    assert len(server.requests) == 4 + 20
    sent = next(it for it in server.requests if it["messages"][0]["content"] == "Query 0.")
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["top_p"]) == ("s-1", 500, 0.7, 0.8)
    assert [message["role"] for message in sent["messages"]] == ["user"]
    first = result()
    assert first["responses"]["writer"] == "scribe"
    assert first["tables"][0]["rows"][0]["overall"] == {"estimate": 7, "low": 7, "high": 7}
    assert bench(command) == 0
    assert len(server.requests) == 24
    assert result() == first


def test_a_judge_with_a_template_is_asked_in_its_wording(server, capsys):
    Path("deep").mkdir()
    Path("deep/critic.txt").write_text('TUNED {request} / {criteria} / {text} / {"score": N}', encoding="utf-8")
    Path("deep/models.yaml").write_text(
        f"judge: {{base_url: '{server.url}', model: j-1, template: critic.txt}}\n"
        f"scribe: {{base_url: '{server.url}', model: s-1}}\n"
    )
    server.script = lambda request, number: '{"score": 9, "reason": "r"}' if tuned(request) else "word " * 20

    def tuned(request):
        return request["messages"][0]["content"].startswith("TUNED Query")

    rest = "--set wb.jsonl --writer scribe --judge judge --models deep/models.yaml --out out"
    assert bench(f"run writingbench {rest}") == 0
    asked = server.requests[4:]
    assert len(asked) == 20
    assert any(it["messages"][0]["content"].startswith("TUNED Query 0. / c0: d\n1-2: b\n") for it in asked)
    assert {it["top_p"] for it in asked} == {0.95}
    assert re.fullmatch(r"critic.txt \(sha256 [0-9a-f]{12}\)", result()["judge"]["wording"])
    assert result()["tables"][0]["rows"][0]["overall"]["estimate"] == 9
    assert "wording: critic.txt (sha256 " in " ".join(capsys.readouterr().out.split())


def test_a_template_that_cannot_be_used_is_refused_before_the_writer_is_paid(server, capsys):
    judge = f"judge: {{base_url: '{server.url}', model: j, template: critic.txt}}\n"
    Path("models.yaml").write_text(f"{judge}scribe: {{base_url: '{server.url}', model: s}}\n")
    for content, said in ((None, "cannot be read"), ("{request} {text}", "lacks {criteria}")):
        if content:
            Path("critic.txt").write_text(content)
        assert bench("run writingbench --set wb.jsonl --writer scribe --judge judge --out out") == 2
        assert f"critic.txt: the judge's template {said}" in capsys.readouterr().err
    assert not server.requests


def test_a_command_whose_question_a_template_cannot_ask_refuses_it_before_the_first_call(server, capsys):
    Path("critic.txt").write_text("{request}")
    Path("models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: j, template: critic.txt}}\n")
    dump("prompts.jsonl", [{"id": "lbw-000", "prompt": "Write."}])
    write_responses("a.jsonl", ["x"])
    with pytest.raises(SystemExit) as stopped:
        main(["grade", "a.jsonl", "--prompts", "prompts.jsonl", "--judge", "judge", "--out", "grades.jsonl"])
    assert stopped.value.code == 2
    assert "critic.txt: the judge's template lacks {text}" in capsys.readouterr().err
    assert not server.requests


def test_no_judge_is_needed_for_lengths(server, capsys):
    write_responses("a.jsonl", ["word " * 100] * 3, ids="lbw-{:03d}")
    assert bench("run longwrite-ruler --set lbw.jsonl --responses a.jsonl --out out --json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["judge"] is None
    assert shown["tables"][0]["rows"][0]["median ratio"]["estimate"] == 0.5
    assert shown["cost"] == "0 (no calls)"
    assert not server.requests


def test_a_partial_result_says_so_in_every_format(server, capsys):
    write_responses("a.jsonl", ["Fine.", "odd", "Fine."], ids="{}")
    command = "run writingbench --set wb.jsonl --responses a.jsonl --judge judge --out out"
    for form in ("text", "markdown", "latex"):
        assert bench(f"{command} --format {form}") == 0
        shown = capsys.readouterr().out.replace("\\_", "_")
        assert "partial: m: responses to 3 of 4 prompts" in shown
        assert "partial: judge: 10 of 15 answers; missing: no_answer 5" in shown
    assert len(server.requests) == 10 + 15  # three tries each
    assert result()["tables"][0]["rows"][0]["n"] == 10
    assert len(result()["partial"]) == 2


def test_a_response_that_could_not_be_written_is_told_with_its_cause(server, reply, capsys):
    def script(request, number):
        declined = request["messages"][0]["content"] == "Query 2."
        return reply("No.", finish_reason="content_filter") if declined else replied(request, number)

    server.script = script
    assert bench("run writingbench --set wb.jsonl --writer scribe --judge judge --out out") == 0
    assert result()["partial"] == ["scribe: responses to 3 of 4 prompts; missing: refused 1"]


def test_the_budget_is_that_of_writing_and_judging_together(server, capsys):
    command = "run writingbench --set wb.jsonl --writer scribe --judge judge --out out --budget"
    assert bench(f"{command} 0.08") == 3  # four responses of 0.015 and some of twenty answers
    assert "budget of 0.08 spent" in capsys.readouterr().err
    assert not Path("out/result.json").exists()
    before = len(server.requests)
    assert bench(f"{command} 5") == 0
    assert before < len(server.requests) == 24


@pytest.mark.parametrize("think", ["on", "direct"])
def test_thoughts_and_tags_of_the_writer_are_no_part_of_the_text(server, capsys, think):
    thoughts = "<think>Six lines of plan.</think>\n" if think == "on" else ""

    def script(request, number):
        content = request["messages"][0]["content"]
        return judged(request, number) if "<<<TEXT" in content else f"{thoughts}<answer>{'word ' * 100}</answer>"

    server.script = script
    command = f"run longbench-write --set lbw.jsonl --writer scribe --judge judge --out out --think {think}"
    assert bench(command) == 0
    asked = [request["messages"][0]["content"] for request in server.requests]
    assert sum("<answer>" in content and "tea" in content for content in asked) == 1
    texts = [read_fences(content)["TEXT"] for content in asked if "<<<TEXT" in content]
    assert {text.strip() for text in texts} == {("word " * 100).strip()}
    assert result()["tables"][0]["rows"][0]["S_l"]["estimate"] == 50
    assert result()["responses"]["settings"]["think"] == think
    capsys.readouterr()
    assert bench(command.removesuffix(f" --think {think}")) == 2
    assert "--out out: was begun with settings" in capsys.readouterr().err


def test_a_think_prompt_of_ones_own_is_asked_and_named(server, capsys):
    server.script = lambda request, number: f"<think>P.</think>\n<answer>{replied(request, number)}</answer>"
    Path("think.txt").write_text("OWN {request}", encoding="utf-8")
    command = "run longwrite-ruler --set lbw.jsonl --writer scribe --out out --think on --think-prompt think.txt"
    assert bench(command) == 0
    assert all(request["messages"][0]["content"].startswith("OWN ") for request in server.requests)
    assert re.fullmatch(r"think.txt \(sha256 [0-9a-f]{12}\)", result()["responses"]["think_prompt"])
    Path("think.txt").write_text("OTHER {request}", encoding="utf-8")
    capsys.readouterr()
    assert bench(command) == 2
    assert "--out out: was begun with think_prompt think.txt" in capsys.readouterr().err


def test_a_folder_is_not_begun_by_a_command_that_is_refused(server, capsys):
    write_responses("strange.jsonl", ["x"], ids="lbw-777")
    write_responses("a.jsonl", ["x"] * 3)
    command = "run longbench-write --set lbw.jsonl --out out"
    for flags in (
        "--responses strange.jsonl --judge judge",
        "--writer scribe --judge judge --max-tokens 9 --models m.yaml",
    ):
        Path("m.yaml").write_text(
            f"judge: {{base_url: '{server.url}', model: j}}\n"
            f"scribe: {{base_url: '{server.url}', model: s, key_env: NO_SUCH_KEY}}\n"
        )
        assert bench(f"{command} {flags}") == 2
        assert not Path("out").exists()
    assert bench(f"{command} --responses a.jsonl --judge scribe") == 0


def test_a_folder_is_not_gone_on_with_when_its_writers_name_stands_for_another(server, capsys):
    command = "run longwrite-ruler --set lbw.jsonl --writer scribe --out out"
    assert bench(command) == 0
    models = Path("models.yaml").read_text()
    for one, other, said in (("s-1", "s-2", "model s-1, not s-2"), ("127.0.0.1", "localhost", "address ")):
        Path("models.yaml").write_text(models.replace(one, other))
        assert bench(command) == 2
        assert f"--out out: was begun with {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--judge judge", "needs either --responses (existing texts) or --writer"),
        (
            "--responses a.jsonl --writer scribe --judge judge",
            "needs either --responses (existing texts) or --writer",
        ),
        ("--responses a.jsonl", "--judge: required for longbench-write"),
        ("--responses a.jsonl --judge jugde", "models.yaml: has no model 'jugde'; did you mean 'judge'?"),
        ("--responses a.jsonl --judge judge --temperature 1", "--temperature: only valid with --writer"),
        ("--responses a.jsonl --judge judge --think on", "--think: only valid with --writer"),
        ("--writer scribe --judge judge --think-prompt t.txt", "--think-prompt: only valid with --think on or"),
        ("--responses a.jsonl a.jsonl --judge judge", "duplicate key, first in row 1"),
        (
            "--responses twice.jsonl --judge judge",
            "twice.jsonl:2: prompt_id='lbw-000', model='m', sample=0: duplicate key",
        ),
        ("--responses strange.jsonl --judge judge", "lbw.jsonl: no prompt 'lbw-777', but 'm' has a response to it"),
        ("--responses none.jsonl --judge judge", "none.jsonl: cannot be read"),
        ("--responses empty.jsonl --judge judge", "empty.jsonl: contains no rows"),
        ("--writer ./nowhere --judge judge", "--writer ./nowhere: not a model folder"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_costs_nothing(server, capsys, flags, said):
    write_responses("a.jsonl", ["x", "y", "z"])
    write_responses("twice.jsonl", ["x", "y"], ids="lbw-000")
    write_responses("strange.jsonl", ["x"], ids="lbw-777")
    Path("empty.jsonl").write_text("")
    assert bench(f"run longbench-write --set lbw.jsonl --out out {flags}") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not server.requests


def test_a_judge_where_none_is_needed_and_a_wrong_set_are_refused(server, capsys):
    write_responses("a.jsonl", ["x"])
    rest = "--set lbw.jsonl --responses a.jsonl --judge judge --out out"
    assert bench(f"run longwrite-ruler {rest}") == 2
    assert "--judge judge: longwrite-ruler needs no judge" in capsys.readouterr().err
    assert bench(f"run writingbench {rest}") == 2
    assert "lbw.jsonl:1: not a row of writingbench" in capsys.readouterr().err
    assert not server.requests


def test_a_folder_is_gone_on_with_only_as_it_was_begun(server, capsys):
    write_responses("a.jsonl", ["x", "y", "z"])
    command = "run longbench-write --set lbw.jsonl --responses a.jsonl --out out --judge"
    assert bench(f"{command} judge") == 0
    capsys.readouterr()
    assert bench(f"{command} scribe") == 2
    assert "--out out: was begun with judge judge, not scribe" in capsys.readouterr().err
    write_responses("b.jsonl", ["1", "2", "3"], model="other")
    assert bench(f"{command} judge --responses b.jsonl") == 0
    assert result()["responses"]["models"] == {"m": 3, "other": 3}
    assert len(server.requests) == 6


def test_a_folder_is_not_gone_on_with_for_another_set_or_writer(server, capsys):
    command = "run writingbench --set wb.jsonl --writer scribe --judge judge --out out"
    assert bench(f"{command} --temperature 0.5") == 0
    asked = len(server.requests)
    assert bench(f"{command} --temperature 0.6") == 2
    assert "--out out: was begun with settings {'max_tokens': 16000, 'temperature': 0.5" in capsys.readouterr().err
    with Path("wb.jsonl").open("a") as file:
        file.write("\n")
    assert bench(f"{command} --temperature 0.5") == 2
    assert "--out out: was begun with set_sha256 " in capsys.readouterr().err
    assert len(server.requests) == asked


def test_a_budget_that_could_not_be_counted_is_refused_before_the_writer_is_paid(server, capsys):
    Path("models.yaml").write_text(
        f"judge: {{base_url: '{server.url}', model: j}}\n"
        f"scribe: {{base_url: '{server.url}', model: s, prices: {{prompt: 1, completion: 1}}}}\n"
    )
    assert bench("run writingbench --set wb.jsonl --writer scribe --judge judge --out out --budget 1") == 2
    assert "--budget: models.yaml has no prices for 'judge'" in capsys.readouterr().err
    assert not server.requests


def test_a_command_that_was_killed_goes_on_and_asks_nothing_twice(server, reply, capsys):
    def slowly(request, number):
        return reply(judged(request, number), delay=0.02 if number <= 8 else 30.0 if number <= 24 else 0.0)

    server.script = slowly
    write_responses("a.jsonl", ["Text."] * 4, ids="{}")
    Path("models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: j, concurrency: 2}}")
    command = "run writingbench --set wb.jsonl --responses a.jsonl --judge judge --out out"
    child = subprocess.Popen([sys.executable, "-m", "longform", "bench", *command.split()], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(server.requests) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    server.script = judged
    in_flight = len(server.requests) - 8
    assert 0 < in_flight <= 2
    assert bench(command) == 0
    assert len(server.requests) == 20 + in_flight
    asked = [request["messages"][0]["content"] for request in server.requests]
    assert len(set(asked)) == 20
    assert result()["tables"][0]["rows"][0]["n"] == 20


def test_fetching_without_a_network_is_one_line(tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    benchmark = BENCHMARKS["longwrite-ruler"]
    nowhere = {"longwrite_ruler.jsonl": "http://127.0.0.1:9/longwrite_ruler.jsonl"}
    monkeypatch.setattr(benchmark, "card", replace(benchmark.card, files=nowhere), raising=False)
    assert bench(f"fetch longwrite-ruler --out {tmp_path}/set") == 2
    assert "http://127.0.0.1:9/longwrite_ruler.jsonl: cannot be fetched" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
