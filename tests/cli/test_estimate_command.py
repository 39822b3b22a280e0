"""`longform estimate`."""

import inspect
import json
from dataclasses import fields
from typing import get_args

import pytest
import yaml

from longform.cli import main
from longform.cli.estimate import estimate
from longform.planning.assumptions import GPU_SPECS, Assumptions, GpuName
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Prompt, Reference


def _run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", *map(str, arguments)])
    return stopped.value.code


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe whose files are all there."""
    monkeypatch.chdir(tmp_path)
    references = [Reference(model="m", text="word " * 1000, score=1)]
    ladders = [Ladder(id=str(n), prompt="write", references=references, policy_score=1, potential=1) for n in range(8)]
    write_rows(tmp_path / "ladders.jsonl", ladders)
    write_rows(tmp_path / "validation.jsonl", [Prompt(id="v", prompt="write")])
    entry = {"base_url": "http://localhost:1/v1", "model": "m", "prices": {"prompt": 1, "completion": 2}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"judge": entry, "exam": entry | {"model": "e"}}))
    content = {
        "policy": "some/writer-7B",
        "data": {"ladders": "ladders.jsonl", "per_step": 4},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "validation": {"prompts": "validation.jsonl", "judge": "exam", "every": 5},
        "run": {"name": "a", "steps": 10},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_estimate_is_printed_with_its_assumptions(recipe, capsys):
    assert _run(recipe, "--set", "run.steps=20") == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split("  ", 1)[-1].strip() for line in out.splitlines()}
    assert lines["rollouts"] == "80, 10.0 visits to each of 8 prompts"
    assert lines["tokens generated"].endswith("1,300 per response")
    assert lines["judge judge"].startswith("80 calls")
    assert lines["examiner exam"].startswith("5 calls")
    assert lines["next"] == f"longform train {recipe} --set run.steps=20 --dry-run"
    assumed = out.partition("\nassumptions\n")[2].splitlines()
    assert "- some/writer-7B has 7,000,000,000 parameters, according to its name" in assumed
    assert "- answers are as long as the prompts' references: 1,300 tokens" in assumed


def test_json_has_every_figure(recipe, capsys):
    assert _run(recipe, "--json", "--price-per-gpu-hour", 2.5) == 0
    found = json.loads(capsys.readouterr().out)
    (judge, examiner) = found["judges"]
    assert (judge["name"], judge["role"], judge["calls"]) == ("judge", "reward", 40)
    assert (examiner["name"], examiner["role"], examiner["calls"]) == ("exam", "examiner", 3)
    assert found["cost"] == pytest.approx(judge["cost"] + examiner["cost"])
    assert judge["cost"] == pytest.approx((judge["prompt_tokens"] + 2 * 40 * 250) / 1e6)
    assert found["gpu_cost"] == pytest.approx(2.5 * found["gpu_hours"])
    assert found["step_seconds"]["total"] == pytest.approx(
        sum(found["step_seconds"][name] for name in ("writing", "judging", "updating"))
    )
    assert found["memory"] is None
    assert found["assumed"]


def test_a_cluster_recipe_has_its_memory_beside(recipe, tmp_path, capsys):
    sizes = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "vocab_size": 32_000,
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    overrides = ("--set", f"policy={tmp_path}", "--set", "engine=cluster", "--set", "memory.precision=bfloat16")
    assert _run(recipe, *overrides) == 0
    out = capsys.readouterr().out
    assert "memory and disk, in GiB\n- throughout, per GPU: " in out
    assert "- checkpoints on disk: up to " in out


def test_a_policy_of_unknown_size_is_one_line(recipe, capsys):
    assert _run(recipe, "--set", "policy=some/writer") == 2
    assert "pass --parameters" in capsys.readouterr().err
    assert _run(recipe, "--set", "policy=some/writer", "--parameters", "3e9") == 0


@pytest.mark.parametrize(
    "flag", [("--gpu", "abacus"), ("--utilisation", 2), ("--parameters", 0), ("--tokens-per-response", 0)]
)
def test_a_flag_that_means_nothing_is_refused(recipe, flag, capsys):
    assert _run(recipe, *flag) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_flags_have_the_defaults_of_an_estimate():
    names = {"bandwidth": "bandwidth_share"}
    assumed = {it.name: it.default for it in fields(Assumptions)}
    flags = {
        names.get(name, name): it.default
        for name, it in inspect.signature(estimate).parameters.items()
        if name not in ("recipe", "set_", "json")
    }
    assert flags == assumed
    assert set(GPU_SPECS) == set(get_args(GpuName))
