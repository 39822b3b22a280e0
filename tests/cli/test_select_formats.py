import json

import pytest

from longform.cli import main
from longform.records.interchange import is_writing_rl, read_writing_rl


@pytest.fixture
def graded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = {
        "p.jsonl": [{"id": "a", "prompt": "Write."}],
        "r.jsonl": [{"prompt_id": "a", "model": m, "text": f"by {m}"} for m in ("me", "you")],
        "g.jsonl": [{"prompt_id": "a", "model": m, "score": s} for m, s in (("me", 3), ("you", 5))],
    }
    for name, content in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    return tmp_path


COMMAND = "select --prompts p.jsonl --responses r.jsonl --grades g.jsonl --policy me --out"


def test_ladders_can_be_written_for_the_released_code(graded, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*COMMAND.split(), "l.parquet", "--format", "writing-rl"])
    assert ended.value.code in (0, None)
    assert is_writing_rl(graded / "l.parquet")
    (ladder,) = read_writing_rl(graded / "l.parquet")
    assert [reference.text for reference in ladder.references] == ["by me", "by you"]


def test_a_foreign_format_needs_a_parquet_name(graded, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*COMMAND.split(), "l.jsonl", "--format", "verl"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == "longform: --out l.jsonl: --format verl is Parquet, so the name must end in .parquet\n"
    )
    assert not (graded / "l.jsonl").exists()
