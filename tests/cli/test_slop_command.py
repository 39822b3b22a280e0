"""`longform slop mine`, and the format reward that charges its lists."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from longform.cli import main
from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow
from longform.rewards.measured import FormatReward
from longform.rewards.settings import FormatSettings
from longform.rewards.slop_lists import SlopLists
from longform.text.structure import ParsedResponse

PLAIN = ["boat", "went", "dawn", "came", "back", "fish", "whole", "village", "share", "noon", "the", "out", "with"]


def _text(seed, *more):
    stream = random.Random(seed)
    return " ".join([*stream.sample(PLAIN, len(PLAIN)), *more]) + "."


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write("human.jsonl", [_text(n, *(["tapestry"] if n < 5 else [])) for n in range(40)])
    _write("model.jsonl", [_text(99 + n, "a tapestry of whispers") for n in range(40)])


def _write(name, texts):
    rows = ({"prompt_id": f"p{n}", "model": "m", "text": text} for n, text in enumerate(texts))
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _run(command):
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    return caught.value.code or 0


def test_a_list_is_mined_shown_and_read_again(capsys):
    assert not _run("slop mine human.jsonl model.jsonl --out slop.json")
    said = capsys.readouterr().out
    assert "Overused in language en" in said and "tapestry" in said and "longform train RECIPE" in said
    found = SlopLists.read(Path("slop.json")).languages["en"]
    assert {"tapestry", "whispers", "tapestry of whispers"} <= {it.phrase for it in found.phrases}
    assert (
        found.human_share is not None and found.model_share is not None and found.model_share > 0.1 > found.human_share
    )
    assert not _run("slop mine human.jsonl model.jsonl --out slop.json --json")
    figures = json.loads(capsys.readouterr().out)["languages"]["en"]
    assert figures["allowed"] == found.allowed > 0


def test_lists_are_written_to_a_json_file_alone(capsys):
    Path("lists").mkdir()
    for out, message in {"lists": "--out lists: is a folder; name a file", "slop.yaml": "name a .json file"}.items():
        assert _run(f"slop mine human.jsonl model.jsonl --out {out}") == 2
        assert message in capsys.readouterr().err
    assert not Path("slop.yaml").exists()


def _score(text, **charges):
    fields = {"kind": "format", "repetition": 0, "slop_list": "slop.json", "slop": 2.0}
    settings = FormatSettings.model_validate(fields | charges)
    scoring = FormatReward(settings).score(
        PromptRow(id="p", prompt="Write."), response=ParsedResponse("", text, True), reference="", step=1
    )
    return asyncio.run(scoring).score


def test_the_format_reward_charges_what_exceeds_human_texts():
    assert not _run("slop mine human.jsonl model.jsonl --out slop.json")
    allowed = SlopLists.read(Path("slop.json")).languages["en"].allowed
    assert _score(_text(7)) == 1.0 == _score("他走到河边，看船。")
    assert _score(_text(7, "tapestry")) == 1.0, "as in human texts"
    share = 4 / (len(PLAIN) + 4)
    assert _score(_text(7, "a tapestry of whispers")) == pytest.approx(1 - 2 * (share - allowed) / (1 - allowed))
    assert _score("tapestry of whispers " * 9) == 0.0, "in no language that is told"


def test_weight_and_list_go_together_and_a_list_is_read_strictly():
    for settings in ({"slop": 1.0}, {"slop_list": "slop.json"}):
        with pytest.raises(ValidationError, match="go together"):
            FormatSettings.model_validate({"kind": "format"} | settings)
    Path("slop.json").write_text('{"languages": {"en": {"phrases": []}}}')
    with pytest.raises(BadInputError, match=r"slop\.json: not a list of `longform slop mine`: languages\.en\.phrases"):
        SlopLists.read(Path("slop.json"))
    with pytest.raises(BadInputError, match="cannot be read"):
        SlopLists.read(Path("nowhere.json"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("slop mine human.jsonl model.jsonl --out slop.jsonl", "name a .json file"),
        ("slop mine human.jsonl nowhere.jsonl --out s.json", "nowhere.jsonl: cannot be read"),
        (
            "slop mine few.jsonl model.jsonl --out s.json",
            "no language has 10 texts of each side (en: 3 human, 40 model)",
        ),
        ("slop mine human.jsonl human2.jsonl --out s.json", "uses no phrase clearly more often"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, command, said):
    _write("few.jsonl", [_text(n) for n in range(3)])
    _write("human2.jsonl", [_text(500 + n) for n in range(40)])
    assert _run(command) == 2
    assert said in capsys.readouterr().err
    assert not Path("s.json").exists()
