"""`longform pretrain`: a plan without training, a table of the mixture, and one line where something is wrong."""

import json
from pathlib import Path

import pytest

from artifacts import save_policy
from longform.cli import main
from longform.miniature.base import build_base_tokenizer
from longform.miniature.corpus import documents
from longform.miniature.policy import build_model
from longform.records.files import write_rows
from longform.records.schemas import Prompt, Response

RECIPE = """
policy: base
sources:
  - {name: books, path: books.jsonl, share: 0.9}
  - {name: cot, prompts: prompts.jsonl, responses: [thoughts.jsonl], share: 0.1}
tokens: 600
out: out
settings: {max_tokens: 64, batch_size: 4, lr: 1.0e-3}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tokenizer = build_base_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    Path("base").symlink_to(base)
    Path("books.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(seed=1, count=8)))
    write_rows("prompts.jsonl", [Prompt(id="p", prompt="Write.")])
    meta = {"plan": "A key.", "well_formed": True}
    rows = [Response(prompt_id="p", model="m", text="Mira lived.", meta=meta)]
    rows.append(Response(prompt_id="p", model="m", sample=1, text="Mira", finish_reason="length"))
    write_rows("thoughts.jsonl", rows)
    Path("r.yaml").write_text(RECIPE)
    return tmp_path


def _run(*flags):
    with pytest.raises(SystemExit) as caught:
        main(["pretrain", "r.yaml", *flags])
    return caught.value.code


def test_a_dry_run_prints_the_plan_and_writes_nothing(folder, capsys):
    before = set(folder.iterdir())
    assert not _run("--dry-run")
    printed = capsys.readouterr().out
    assert "max_tokens: 64" in printed
    assert "# books: 8 documents, " in printed
    assert " epochs, 1 cut off left out\n" in printed
    assert "# OK: 2 updates of 256 tokens\n" in printed
    assert set(folder.iterdir()) == before


def test_the_end_is_a_table_of_the_mixture_and_the_result(capsys):
    assert not _run()
    printed = capsys.readouterr().out
    for word in ("target share", "actual share", "epochs", "books", "cot", "1 cut off", "updates", "policy=out"):
        assert word in printed
    assert Path("out/config.json").exists()


def test_the_result_as_json_holds_the_mixture(capsys):
    assert not _run("--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["updates"], result["tokens"]) == ("out", 2, 512)
    assert [row["name"] for row in result["mixture"]] == ["books", "cot"]
    assert sum(row["tokens"] for row in result["mixture"]) == 512


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set", "sources.0.share=0.8"), "r.yaml: sources: the shares sum to 0.9 instead of 1"),
        (("--set", "sources.0.path=no.jsonl"), "no.jsonl: cannot be read"),
        (("--set", "policy=./no"), "./no: not a model folder"),
        (("--set", "tokens=100"), "tokens: 100 is less than one update"),
        (("--resume",), "out.checkpoints: no pretraining to resume"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, flags, said):
    for more in ((), ("--dry-run",)):
        if "--resume" in flags and more:
            continue
        assert _run(*flags, *more) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1, "nothing is said to have begun"
        assert printed.startswith("longform: ")
        assert said in printed
