import json

import pytest
import yaml

from longform.records.files import read_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, Ladder, Preference, Prompt, Response

KINDS = ("scores", "verdicts", "dropping")


@pytest.mark.slow
def test_the_smoke_quickstart_goes_through_every_stage(tmp_path, forks):
    folder = tmp_path / "quick"
    command = ["quickstart", "--smoke", "--json", "--out", str(folder)]
    done = forks.run(tmp_path, command)
    figures = json.loads(done.stdout)
    assert set(figures["win_rates"]) == {"start", "novice", "apprentice", "journeyman", "master"}
    for estimate, low, high in figures["win_rates"].values():
        assert 0 <= low <= estimate <= high <= 1
    ladders = list(read_rows(folder / "ladders.jsonl", Ladder))
    assert {reference.model for ladder in ladders for reference in ladder.references} > {"policy", "master"}
    with RunDirectory.read(folder / "run") as run:
        assert run.database.last_step() == 3
        assert len(list(run.database.rollouts())) == 3 * 16
        assert figures["calls"] >= 3 * 16 + 32 * 9
    assert (folder / "run" / "report.html").read_text().count("<svg") >= 8

    again = forks.run(tmp_path, command, code=2)
    assert again.stderr == f"longform: --out {folder}: is not empty\n"


@pytest.mark.slow
@pytest.mark.full  # the whole chain below has these stages too
def test_the_smoke_quickstart_of_longwriter_zero_goes_through_every_stage(tmp_path, forks):
    folder = tmp_path / "zero"
    command = ["quickstart", "--method", "longwriter-zero", "--smoke"]
    done = forks.run(tmp_path, command, "--out", str(folder))
    assert "format kept" in done.stdout
    assert "plans under 5 words" in done.stdout

    figures = json.loads((folder / "evidence.json").read_text())
    assert set(figures["win_rates"]) == {"base", "sft-weak", "sft-middle", "sft-best"}
    assert set(figures["writers"]) == {"trained", *figures["win_rates"]}
    assert set(figures["thinking"]) == {"base", "trained"}
    for estimate, low, high in figures["win_rates"].values():
        assert 0 <= low <= estimate <= high <= 1
    with RunDirectory.read(folder / "run") as run:
        assert run.database.last_step() == 2
        assert len(list(run.database.rollouts())) == 2 * 16
        assert {"reward/length/mean", "reward/format/mean", "text/structure"} <= run.database.metrics().keys()
    answers = {row.prompt_id: row for row in read_rows(folder / "held-out-base-thinking.jsonl", Response)}
    assert all(set(row.meta) >= {"plan", "well_formed"} for row in answers.values())


@pytest.mark.slow
@pytest.mark.full
def test_the_smoke_quickstart_of_the_whole_chain_goes_from_raw_text_to_an_arena(tmp_path, forks):
    folder = tmp_path / "whole"
    command = ["quickstart", "--method", "longwriter-zero", "--full-pipeline", "--smoke"]
    done = forks.run(tmp_path, command, "--out", str(folder))
    assert "Arena of all writers" in done.stdout

    figures = json.loads((folder / "evidence.json").read_text())
    writers = {"trained", "base", "pretrained", "sft-weak", "sft-middle", "sft-best"}
    assert {it["model"] for it in figures["standings"]} == set(figures["writers"]) == writers
    games = list(read_rows(folder / "games.jsonl", Game))
    assert len(games) == 15 * 16 * 2, "each writer against each other one, on each prompt, in both orders"
    mixture = json.loads((folder / "pretrained" / "mixture.json").read_text())["sources"]
    assert {it["name"] for it in mixture} == {"stories", "pages", "planned"}
    pairs = {kind: len(list(read_rows(folder / f"pairs-{kind}.jsonl", Preference))) for kind in KINDS}
    assert all(pairs.values())
    learned = yaml.safe_load((folder / "grades-model.yaml").read_text())["preferences"]
    assert learned == [str(folder / f"pairs-{kind}.jsonl") for kind in ("scores", "verdicts")]
    with RunDirectory.read(folder / "first") as run:
        assert pairs["verdicts"] <= len(list(run.database.rollouts())) == 8
    world, training = (
        [(it.request, it.length_range) for it in read_rows(folder / f"{name}.jsonl", Prompt)]
        for name in ("prompts", "training-prompts")
    )
    assert training == world, "every story request of the chat log is a training prompt, and nothing else"
    assert figures["prompts"] == {"chats": 48, "pooled": 36, "filtered": 32, "with_length": 32}
    with RunDirectory.read(folder / "run") as run:
        assert {it.prompt_id for it in run.database.rollouts()} <= {f"chat-{number:05d}" for number in range(48)}
        assert {"reward/writing/mean", "reward/writing/cut"} <= run.database.metrics().keys()
        assert run.database.last_step() == 2
