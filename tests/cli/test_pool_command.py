"""`longform pool`: what it writes and prints, and the one line where it cannot."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longform.cli import main
from longform.records.files import read_rows
from longform.records.schemas import Prompt
from longform.selection.pool import Dropped

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
STORY = "Write a long story about the keeper of a lighthouse in the north"
ESSAY = "Explain in an essay of two thousand words why rivers bend"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder with a chat log in Parquet, a file of queries, and a benchmark."""
    monkeypatch.chdir(tmp_path)
    Path("log").mkdir()
    chats = [
        {
            "conversation_hash": str(number),
            "conversation": [{"role": "user", "content": text, "language": "English"}],
            "language": "English",
            "toxic": number == 3,
            "redacted": False,
        }
        for number, text in enumerate([STORY, f"{STORY}!", f"Please: {ESSAY}", "Say something that nobody should say"])
    ]
    pq.write_table(pa.Table.from_pylist(chats), "log/train.parquet")
    check = {"name": "Mood", "criteria_description": "Is it dark?"}
    query = {"index": 7, "domain1": "d", "lang": "zh", "query": "写一篇关于冬夜的散文", "checklist": [check]}
    Path("queries.jsonl").write_text(json.dumps(query) + "\n")
    Path("test.jsonl").write_text(json.dumps({"id": "t", "prompt": ESSAY}) + "\n")
    return tmp_path


def _run(command):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    return ended.value.code


POOL = "pool log queries.jsonl --decontaminate test.jsonl"


def test_prompts_dropped_ones_and_a_table(world, capsys):
    assert _run(f"{POOL} --out p.jsonl --dropped d.jsonl") in (0, None)
    prompts = {it.id: it for it in read_rows("p.jsonl", Prompt)}
    assert list(prompts) == ["0", "writingbench-7"]
    assert prompts["writingbench-7"].criteria
    dropped = {it.id: (it.reason, it.of) for it in read_rows("d.jsonl", Dropped)}
    assert dropped == {"1": ("duplicate", "0"), "2": ("in a benchmark", "test.jsonl:t"), "3": ("toxic", None)}
    said = capsys.readouterr().out
    assert "queries.jsonl" in said
    assert "in a benchmark" in said
    assert "2 of 5" in said
    assert "longform filter p.jsonl" in said


def test_the_result_as_json(world, capsys):
    assert _run(f"{POOL} --out p.parquet --json") in (0, None)
    said = json.loads(capsys.readouterr().out)
    assert said["prompts"] == 2
    assert said["read"] == 5
    assert said["fates"] == {"toxic": 1, "in a benchmark": 1, "duplicate": 1, "kept": 2}
    assert said["sources"]["log"] == {"toxic": 1, "in a benchmark": 1, "duplicate": 1, "kept": 1}
    assert said["languages"] == {"en": 1, "zh": 1}
    assert [it.id for it in read_rows("p.parquet", Prompt)] == ["0", "writingbench-7"]


def test_a_language_is_named_by_code_or_name(world):
    assert _run(f"{POOL} --out p.jsonl --language Chinese --language ja") in (0, None)
    assert [it.id for it in read_rows("p.jsonl", Prompt)] == ["writingbench-7"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("pool --out p.jsonl", "sources"),
        (f"{POOL} none.jsonl --out p.jsonl", "none.jsonl: cannot be read: No such file"),
        (f"{POOL} --near-dup-threshold 0.2 --out p.jsonl", "--near-dup-threshold"),
        (f"{POOL} --near-dup-threshold 1.2 --out p.jsonl", "--near-dup-threshold"),
        (f"{POOL} --limit 0 --out p.jsonl", "--limit"),
        (f"{POOL} --language unknown --out p.jsonl", "--language unknown: needs a code such as en or zh"),
        (f"{POOL} --min-words 9 --max-words 8 --out p.jsonl", "--min-words 9: larger than --max-words 8"),
        (f"{POOL} --out queries.jsonl", "--out queries.jsonl: would overwrite queries.jsonl, which this command reads"),
        (f"{POOL} --out ./test.jsonl", "--out test.jsonl: would overwrite test.jsonl, which this command reads"),
        (f"{POOL} --out log/train.parquet", "--out log/train.parquet: would overwrite log/train.parquet, which this"),
        (f"{POOL} --out p.jsonl --dropped log/train.parquet", "--dropped log/train.parquet: would overwrite"),
        (f"{POOL} --out p.jsonl --dropped p.jsonl", "--dropped p.jsonl: the same file as --out"),
        (f"{POOL} --out queries.jsonl/p.jsonl", "queries.jsonl/p.jsonl: cannot be written"),
        (f"{POOL} --out p.jsonl --min-words 500", "no prompt of log, queries.jsonl is left: 1 toxic, 4 too short"),
    ],
)
def test_what_cannot_be_done_is_one_line(world, capsys, command, message):
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    assert _run(command) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("longform: ")
    assert message.lower() in last.lower()
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*") if path != world} == {
        path: time for path, time in before.items() if path != world
    }


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' data are not at hand")
def test_a_real_benchmark_is_held_by_itself_and_by_no_other(tmp_path, capsys):
    ruler, write, chinese = (
        DATA / f"{name}.jsonl" for name in ("longwrite_ruler", "longbench_write", "wpb_zh_prompts")
    )
    out = tmp_path / "p.jsonl"
    assert _run(f"pool {write} --out {out} --decontaminate {ruler} {chinese} --json") in (0, None)
    assert json.loads(capsys.readouterr().out)["fates"] == {"kept": 120}
    assert _run(f"pool {write} --out {out} --decontaminate {write}") == 2
    assert "is left: 120 in a benchmark" in capsys.readouterr().err
