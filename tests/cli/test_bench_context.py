"""`longform bench run --writer` with a writer whose context is shorter than the benchmark's prompts."""

import json
import re
from pathlib import Path

import pytest

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.text.words import estimate_tokens

REAL_MODEL = Path(__file__).parents[3] / "shared" / "models" / "stories260k"
DOCUMENT = " ".join(f"Once upon a time there was a fox number {n}." for n in range(2000))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(lambda request, number: "The correct answer is (A)")
    name_models(server, context=2000)
    question = {"domain": "Code", "difficulty": "easy", "length": "long", "question": "Who?", "answer": "A"}
    question |= {f"choice_{letter}": letter for letter in "ABCD"}
    rows = [question | {"_id": f"q{i}", "context": text} for i, text in enumerate((DOCUMENT, DOCUMENT[::-1], "Short."))]
    Path("lb.json").write_text(json.dumps(rows), encoding="utf-8")
    row = {"type": "Essay", "length": 200}
    lengths = [row | {"prompt": f"Write 200 words. {DOCUMENT}"}, row | {"prompt": "Write 200 words."}]
    Path("ruler.jsonl").write_text("".join(f"{json.dumps(it)}\n" for it in lengths), encoding="utf-8")
    return server


def name_models(server, *, context):
    Path("models.yaml").write_text(f"scribe: {{base_url: '{server.url}', model: s, context: {context}}}\n")


def bench(command):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *command.split()])
    return caught.value.code or 0


def result(out="out"):
    return json.loads(Path(out, "result.json").read_text(encoding="utf-8"))


def test_a_prompt_is_cut_to_what_an_endpoint_takes_in(server, capsys):
    assert bench("run longbench-v2 --set lb.json --writer scribe --out out") == 0
    sent = sorted((request["messages"][0]["content"] for request in server.requests), key=len)
    assert [DOCUMENT[:99] in text or DOCUMENT[::-1][:99] in text for text in sent] == [False, True, True]
    for text in sent:
        assert estimate_tokens(text) <= 2000 - 128
        assert text.endswith('"The correct answer is (insert answer here)".')
    assert estimate_tokens(sent[-1]) > 1500
    assert result()["responses"]["cut"] == 2
    assert "truncated in the middle to fit the writer's context: 2 prompts" in capsys.readouterr().out


def test_a_prompt_that_asks_for_thoughts_fits_with_what_it_adds(server):
    server.script = lambda request, number: "<think>P.</think>\n<answer>The correct answer is (A)</answer>"
    assert bench("run longbench-v2 --set lb.json --writer scribe --out out --think on") == 0
    sent = [request["messages"][0]["content"] for request in server.requests]
    assert len(sent) == 3
    assert all("<think>" in text and estimate_tokens(text) <= 2000 - 128 for text in sent)
    assert result()["tables"][0]["rows"][0]["accuracy"]["estimate"] == 100


def test_what_was_cut_to_one_context_is_not_gone_on_with_for_another(server, capsys):
    command = "run longbench-v2 --set lb.json --writer scribe --out out"
    assert bench(command) == 0
    name_models(server, context=4000)
    assert bench(command) == 2
    assert "--out out: was begun with context 2000, not 4000" in capsys.readouterr().err


def test_prompts_of_other_benchmarks_stay_whole_or_are_not_sent(server):
    assert bench("run longwrite-ruler --set ruler.jsonl --writer scribe --max-tokens 300 --out short") in (0, 3)
    assert not any("..." in request["messages"][0]["content"] for request in server.requests)
    name_models(server, context=100_000)
    assert bench("run longwrite-ruler --set ruler.jsonl --writer scribe --max-tokens 300 --out out") == 0
    assert any(DOCUMENT in request["messages"][0]["content"] for request in server.requests)
    assert result()["responses"]["cut"] == 0


def test_a_context_without_room_for_a_prompt_is_refused_before_anything_is_sent(server, capsys):
    assert bench("run longbench-v2 --set lb.json --writer scribe --max-tokens 1940 --out out") == 2
    assert "--max-tokens: the context of scribe is 2000 tokens for prompt and response" in capsys.readouterr().err
    assert not server.requests
    assert not Path("out").exists()


def test_a_local_model_reads_what_its_own_tokens_leave(server, model, capsys):
    command = f"run longbench-v2 --set lb.json --writer {model} --max-tokens 8 --out out"
    assert bench(command) == 0
    rows = [json.loads(line) for line in Path("out/responses.jsonl").read_text().splitlines()]
    assert [row["prompt_id"] for row in rows] == ["q0", "q1", "q2"]
    assert result()["responses"]["cut"] >= 2
    assert bench(f"run longwrite-ruler --set ruler.jsonl --writer {model} --max-tokens 8 --out other") == 2
    assert re.search(r"prompt lwr-[0-9a-f]{16}: has ", capsys.readouterr().err)
    assert not Path("other").exists()
    assert bench(f"run longbench-v2 --set lb.json --writer {model} --max-tokens 8 --think direct --out tags") == 0
    rows = [json.loads(line) for line in Path("tags/responses.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all("well_formed" in row["meta"] for row in rows)


@pytest.mark.skipif(not REAL_MODEL.is_dir(), reason="needs the shared model")
def test_a_real_model_with_a_context_of_512_takes_in_long_questions(server, capsys):
    assert bench(f"run longbench-v2 --set lb.json --writer {REAL_MODEL} --max-tokens 64 --out out") == 0
    assert len(Path("out/responses.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert result()["responses"]["cut"] >= 2
    assert bench(f"run longbench-v2 --set lb.json --writer {REAL_MODEL} --max-tokens 512 --out other") == 2
    assert "is 512 tokens for prompt and response; a response" in capsys.readouterr().err
