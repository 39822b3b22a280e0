"""The estimate of a study: calls counted by hand, prices, and what is not known."""

import json
from dataclasses import replace

import pytest
import yaml
from study_files import changed, write_study

from longform.cli import main
from longform.planning.assumptions import Assumptions
from longform.records.errors import BadInputError
from longform.studies.estimate import estimate_study
from longform.studies.plan import plan_study
from longform.studies.settings import load_study

GIVEN = Assumptions(parameters=1e8, tokens_per_prompt=10, tokens_per_response=100, answer_tokens=250)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(folder, study=None, **prices):
    """A study whose judges have these prices by name, for a million tokens of answers; questions are free."""
    source = write_study(folder, study)
    models = yaml.safe_load((folder / "models.yaml").read_text())
    for name, price in prices.items():
        models[name]["prices"] = {"prompt": 0.0, "completion": price}
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    return source


def estimated(source, given=GIVEN):
    plan = plan_study(load_study(source), source.parent / "out", source=source, needs_files=False)
    return estimate_study(plan, given)


def test_calls_are_those_counted_by_hand(tmp_path):
    kinds = estimated(written(tmp_path)).kinds
    assert {kind: it.calls for kind, it in kinds.items() if it.calls} == {
        "responses": 3,  # one writer behind an endpoint writes for three prompts, once for both seeds
        "grades": 2 * 3 * 2,  # seeds x prompts x writers
        "training": 6 * 6 * 4,  # runs x steps x responses
        # Held-out responses: after 4 policies of each arm and seed, of which the first is shared; then pairs in both orders
        # of 3 arms, 2 seeds and 2 judges.
        "examination": 2 * (2 * (3 * 3 + 1)) + 2 * 2 * (3 * 2 * 2),
    }
    assert {kind: it.tasks for kind, it in kinds.items()}["training"] == 6
    assert kinds["training"].hours > 0 and kinds["grades"].hours == 0


def test_each_arm_is_estimated_once_for_all_seeds(tmp_path):
    of_world = changed(
        world={"train_prompts": 8}, models="$world/models.yaml"
    )  # each seed has a models.yaml of its own
    notes = [it for it in estimated(written(tmp_path, of_world)).notes if "ladders.jsonl does not exist" in it]
    assert [it.partition(":")[0] for it in notes] == ["dynamic", "mixed"], "random differs in its ladders alone"


def test_the_cost_is_that_of_the_answers_of_priced_models_and_the_others_are_named(tmp_path):
    found = estimated(written(tmp_path, judge=2.0, exam=4.0))
    assert found.kinds["grades"].cost == pytest.approx(12 * 250 * 2.0 / 1e6)
    assert found.kinds["training"].cost == pytest.approx(144 * 250 * 2.0 / 1e6)
    assert found.kinds["examination"].cost == pytest.approx((40 + 24) * 250 * 4.0 / 1e6)  # `other` has no prices
    assert found.unpriced == ["big", "other"]
    assert found.cost == pytest.approx(sum(it.cost for it in found.kinds.values()))


def test_the_tokens_of_questions_count_too(tmp_path):
    source = written(tmp_path)
    models = yaml.safe_load((tmp_path / "models.yaml").read_text())
    models["judge"]["prices"] = {"prompt": 1.0, "completion": 0.0}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    short, long = (estimated(source, replace(GIVEN, tokens_per_response=tokens)) for tokens in (100, 1100))
    assert long.kinds["grades"].cost - short.kinds["grades"].cost == pytest.approx(12 * 1000 / 1e6)


def test_gpus_cost_their_hours(tmp_path):
    found = estimated(written(tmp_path), replace(GIVEN, price_per_gpu_hour=2.5))
    assert found.gpu_cost == pytest.approx(2.5 * found.gpu_hours) and found.gpu_hours > 0
    assert estimated(written(tmp_path)).gpu_cost is None


def test_an_elo_examination_counts_its_opponents_and_prompts_to_come_are_assumed(tmp_path):
    elo = {"anchor": 1000.0, "big": 900.0}
    study = changed(
        seeds=[1], examine=[{"elo": elo, "at": "last", "prompts": "later.jsonl", "judge": "exam"}], arms={"dynamic": {}}
    )
    (tmp_path / "anchor.jsonl").write_text("")
    found = estimated(written(tmp_path, study))
    assert found.kinds["examination"].calls % (2 * 200) == 0
    assert any("later.jsonl is not there yet: 200 prompts are assumed" in it for it in found.notes)


def test_prompts_that_will_be_collected_criteria_and_questions_of_benchmarks_are_counted(tmp_path):
    row = {"id": "a", "prompt": "Write 100 words on tea.", "type": "News Report", "length": 100}
    (tmp_path / "set.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"id": "b"}) + "\n")
    prepare = {
        "collected": {"pool": ["rows.jsonl"], "limit": 50, "held_out": 8},
        "asked": {"criteria": "$collected/prompts.jsonl", "judge": "judge"},
    }
    bench = {"bench": "longbench-write", "data": "set.jsonl", "judge": ["exam", "other"]}
    examine = [
        {"name": "own", "grade": True, "prompts": "$asked", "judge": "exam", "limit": 10, "samples": 3},
        {"name": "others", "grade": True, "prompts": "$collected/held-out.jsonl", "judge": "exam"},
        bench,
    ]
    study = changed(prepare=prepare, arms={"published": {"model": "big"}}, examine=examine, tables=[{}])
    found = estimated(written(tmp_path, study, judge=2.0, exam=4.0, big=1.0))
    assert found.kinds["criteria"].calls == 50 - 8
    assert found.kinds["criteria"].cost == pytest.approx(42 * 900 * 2.0 / 1e6)  # the longest answers of all
    assert found.kinds["responses"].calls == 3 * 10 + 8
    assert found.kinds["examination"].calls == 3 * 10 + 8 + 2 * 2  # two judges of the benchmark's two responses
    assert found.unpriced == ["other"]
    (tmp_path / "set.jsonl").unlink()
    assert (
        "set.jsonl is not there: calls of longbench-write are not counted" in estimated(tmp_path / "study.yaml").notes
    )


def test_the_command_prints_the_table_and_all_figures(tmp_path, capsys):
    source = written(tmp_path, judge=2.0)
    flags = ["--parameters", "1e8", "--tokens-per-response", "100", "--price-per-gpu-hour", "2"]
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(source), *flags])
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "Tasks of the study" in printed and "and unknown for big, exam, other" in printed
    assert f"longform study run {source} --dry-run" in printed
    with pytest.raises(SystemExit):
        main(["estimate", str(source), *flags, "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["tasks"]["grades"]["calls"] == 12
    assert figures["unpriced"] == ["big", "exam", "other"]
    assert figures["gpu_cost"] == pytest.approx(2 * figures["gpu_hours"])


def test_overrides_of_a_study_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(written(tmp_path)), "--set", "run.steps=3"])
    assert ended.value.code == 2
    assert "--set: only valid for a recipe; change the study file instead" in capsys.readouterr().err


def test_a_policy_of_unknown_size_is_named(tmp_path):
    with pytest.raises(BadInputError, match="model"):
        estimated(written(tmp_path), replace(GIVEN, parameters=None))
