"""`longform probe` and `longform calls`: what an endpoint supports, and what is on record."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from longform.cli import main
from longform.records.calls import CallRecord, SqliteCallLog


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def judge(request, number):
    question = request["messages"][-1]["content"]
    if "[[X]]" in question:
        return "TEXT A is finer.\n[[B]]"
    if '"scores"' in question:
        return '{"scores": {"clarity": 8}}'
    if "response_format" in request:
        return '{"greeting": "Hello."}'
    return "Hello." if "hello" in question else "word " * 600


def models(server, **keys):
    fields = {"base_url": server.url, "model": "m", "prices": {"prompt": 1, "completion": 2}, **keys}
    Path("models.yaml").write_text(json.dumps({"judge": fields}))


def test_a_probe_asks_each_question_once_and_prints_the_greatest_price_first(serve, capsys):
    server = serve(judge)
    models(server)
    assert run("probe", "judge") == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("cost: at most 0.")
    for line in ("chat               ok: Hello.", "pairwise           ok: win", "pointwise          ok: 8 of 10"):
        assert line in shown.out
    assert "600 words, complete" in shown.out
    assert "max_tokens is accepted" in shown.out
    asked = len(server.requests)
    assert asked == 4 + 2, "what the endpoint offers besides: structured output and the probabilities of letters"
    assert "json_schema is followed" in shown.out
    assert "not given" in shown.out
    assert run("probe", "judge", "--json") == 0
    assert json.loads(capsys.readouterr().out)["usable"] is True
    assert len(server.requests) == asked


def test_a_probe_names_the_key_that_an_endpoint_needs(serve, reply, capsys):
    def script(request, number):
        if "max_tokens" in request:
            return reply("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", status=400)
        return judge(request, number)

    server = serve(script)
    models(server)
    assert run("probe", "judge") == 0
    assert "FAILED" in (shown := capsys.readouterr().out)
    assert "`token_parameter: max_completion_tokens`" in shown
    models(server, token_parameter="max_completion_tokens")
    assert run("probe", "judge") == 0
    assert "FAILED" not in capsys.readouterr().out


REFUSALS = {
    "reasoning": {"max_tokens": "no 'max_tokens' here, sorry", "temperature": "0.7 is not 1"},
    "one of two": {"top_p": "both of them are too many"},
    "streams": {},
}


@pytest.mark.parametrize(
    ("refused", "helps"),
    [
        ("reasoning", "it answers with `token_parameter: max_completion_tokens`, `temperature: null` in models.yaml"),
        ("one of two", "it answers with `top_p: null` in models.yaml"),
        ("streams", "it answers with `stream: true` in models.yaml"),
    ],
)
def test_a_probe_finds_by_trying_what_an_endpoint_answers_to(refused, helps, serve, reply, capsys):
    """Its words name no parameter, or one that is not the cause."""

    def script(request, number):
        told = next((said for name, said in REFUSALS[refused].items() if name in request), None)
        if refused == "streams" and not request.get("stream"):
            told = "this deployment has no such mode"
        if told:
            return reply(told, status=400)
        return judge(request, number)

    server = serve(script)
    models(server)
    assert run("probe", "judge") == 0
    shown = capsys.readouterr()
    assert helps in shown.out, shown
    asked = len(server.requests)
    assert asked <= 4 + 9
    assert run("probe", "judge") == 0
    assert "FAILED" in capsys.readouterr().out, "an answer to other settings is no answer to these"


def test_a_probe_says_when_nothing_helps(serve, reply, capsys):
    models(serve(lambda request, number: reply("computer says no", status=400)))
    assert run("probe", "judge") == 0
    shown = capsys.readouterr().out
    assert "none of `token_parameter: max_completion_tokens`" in shown
    assert shown.count("computer says no") >= 4


@pytest.mark.parametrize(("answer", "told"), [("Hello.", "accepted, but not followed"), (None, "refused:")])
def test_a_probe_tells_structured_output_that_is_followed_from_one_that_is_not(answer, told, serve, reply, capsys):
    def script(request, number):
        if "response_format" in request:
            return answer or reply("response_format is not supported", status=400)
        return judge(request, number)

    models(serve(script))
    assert run("probe", "judge") == 0
    (line,) = [it for it in capsys.readouterr().out.splitlines() if it.startswith("structured output")]
    assert told in line


def test_each_question_of_a_probe_quotes_its_own_failure(serve, capsys):
    def script(request, number):
        question = request["messages"][-1]["content"]
        if "[[X]]" in question or '"scores"' in question:
            return "no verdict here" if "[[X]]" in question else "no grade here"
        return judge(request, number)

    models(serve(script))
    run("probe", "judge")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "no verdict here" in lines["pairwise"]
    assert "no grade here" in lines["pointwise"]


def test_a_probe_says_that_a_judge_thinks_longer_than_it_may(serve, reply, capsys):
    def script(request, number):
        if request["max_tokens"] < 3000:
            body = {"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "length"}
            return reply(body=json.dumps({"choices": [body]}))
        return judge(request, number)

    server = serve(script)
    models(server)
    assert run("probe", "judge") == 0
    assert "allow more with `max_tokens` in models.yaml" in capsys.readouterr().out
    models(server, max_tokens=8000)
    assert run("probe", "judge") == 0
    assert "FAILED" not in capsys.readouterr().out


@pytest.fixture
def log():
    with SqliteCallLog("out.jsonl.calls.sqlite") as opened:
        for number, (outcome, message) in enumerate([("ok", ""), ("refused", "not \x1b[2J nice"), ("ok", "")]):
            opened.record(
                CallRecord(
                    request_hash=str(number),
                    attempt=1,
                    endpoint="judge",
                    model="big",
                    outcome=outcome,
                    prompt_tokens=100,
                    completion_tokens=10,
                    cost=0.5,
                    latency_seconds=2.0,
                    text="A verdict.\n[[A]]" if outcome == "ok" else "",
                    finish_reason="stop",
                    thoughts="hm",
                    thought_tokens=5,
                    message=message,
                )
            )


@pytest.mark.usefixtures("log")
def test_recorded_calls_are_printed_with_their_answers_and_causes(capsys):
    assert run("calls", "out.jsonl") == 0
    assert capsys.readouterr().out.count("#") == 3
    assert run("calls", "out.jsonl", "--outcome", "failed") == 0
    shown = capsys.readouterr().out
    assert "#2 judge (big): refused, 100+10 tokens" in shown
    assert "\x1b" not in shown
    assert run("calls", "out.jsonl.calls.sqlite", "--model", "big", "--limit", "1", "--show") == 0
    assert "   | [[A]]" in capsys.readouterr().out
    assert run("calls", "out.jsonl", "--json", "--outcome", "ok") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["thoughts"] == "hm"


@pytest.mark.usefixtures("log")
def test_totals_are_by_model_and_outcome(capsys):
    assert run("calls", "out.jsonl", "--totals", "--json") == 0
    sums = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(it["outcome"], it["calls"], it["cost"], it["thought_tokens"]) for it in sums] == [
        ("ok", 2, 1.0, 10),
        ("refused", 1, 0.5, 5),
    ]
    assert run("calls", "out.jsonl", "--totals") == 0
    assert "refused" in capsys.readouterr().out


def test_a_log_of_version_0_1_is_read_and_continued(capsys):
    with sqlite3.connect("old.calls.sqlite") as connection:
        connection.execute(
            "CREATE TABLE calls (id INTEGER PRIMARY KEY, request_hash TEXT NOT NULL, attempt INTEGER NOT NULL, endpoint "
            "TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, "
            "cost REAL, latency_seconds REAL NOT NULL, text BLOB NOT NULL, finish_reason TEXT)"
        )
        connection.execute("INSERT INTO calls VALUES (1, 'h', 1, 'judge', 'm', 'timeout', 1, 2, 0.5, 1.0, x'', NULL)")
    assert run("calls", "old.calls.sqlite") == 0
    assert "#1 judge (m): timeout" in capsys.readouterr().out
    with SqliteCallLog("old.calls.sqlite") as log:
        assert log.totals().calls == 1
        assert log.read("judge")[0].thoughts == ""


@pytest.mark.parametrize(("path", "said"), [("nowhere", "nowhere: no such file"), (".", "has neither run.sqlite")])
def test_where_there_is_no_log_it_is_said(path, said, capsys):
    assert run("calls", path) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("log")
def test_of_several_logs_in_a_folder_none_is_taken_for_all(capsys):
    assert run("calls", ".") == 0
    shutil.copy("out.jsonl.calls.sqlite", "other.jsonl.calls.sqlite")
    assert run("calls", ".") == 2
    assert "name one: other.jsonl.calls.sqlite, out.jsonl.calls.sqlite" in capsys.readouterr().err


@pytest.mark.usefixtures("log")
def test_a_filter_that_matches_nothing_is_answered_with_what_is_on_record(capsys):
    assert run("calls", "out.jsonl", "--outcome", "refusd") == 0
    assert "on record: 2 ok of judge, 1 refused of judge" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--show"], ["--totals"], ["--json"]])
@pytest.mark.parametrize("damage", ["texts", "pages", "no database"])
@pytest.mark.usefixtures("log")
def test_a_damaged_log_is_one_line(damage, options, capsys):
    path = Path("out.jsonl.calls.sqlite")
    if damage == "texts":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE calls SET text = x'00ff00'")
    elif damage == "pages":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    else:
        path.write_bytes(b"no database" * 500)
    code = run("calls", "out.jsonl", *options)
    assert code == (0 if damage == "texts" and options == ["--totals"] else 2)
    assert "Traceback" not in capsys.readouterr().err
