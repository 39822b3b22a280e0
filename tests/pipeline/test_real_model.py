"""PPO on real pretrained weights that have no chat template, against ladders of the model's own samples."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longform.judging.answers import read_fences
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Grade, Ladder, Prompt
from longform.selection.select import select
from longform.selection.settings import SelectionSettings
from longform.training.run import train
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

ROOT = Path(__file__).parents[2]
MODEL = ROOT.parent / "shared" / "models" / "stories260k"
SAMPLES = ("stories260k", "sample-1", "sample-2")


def _dialogue(text):
    return text.count('"')


def _judge(request, number):
    """Likes stories in which people talk."""
    fenced = read_fences(request["messages"][-1]["content"])
    a, b = _dialogue(fenced["TEXT A"]), _dialogue(fenced["TEXT B"])
    return "[[A]]" if a > b else "[[B]]" if b > a else "[[C]]"


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.is_dir(), reason="the shared folder with the stories260k model is not there")
def test_the_recipe_trains_a_real_pretrained_model_against_its_own_samples(tmp_path, serve, monkeypatch):
    starts = ("Once upon a time, there was a", "One day, Lily", "Tom had a big", "In the park, a little")
    heroes = ("dog", "girl", "boy", "cat")
    rows = [Prompt(id=f"{i}-{j}", prompt=f"{s} {h}") for i, s in enumerate(starts) for j, h in enumerate(heroes)]
    write_rows(tmp_path / "prompts.jsonl", rows)
    writer = LocalWriter(str(MODEL))
    settings = GenerationSettings(max_tokens=60)
    written = [
        it for seed, name in enumerate(SAMPLES) for it in writer.write(rows, settings=settings, seed=seed, name=name)
    ]
    write_rows(tmp_path / "responses.jsonl", written)
    grades = [Grade(prompt_id=it.prompt_id, model=it.model, score=_dialogue(it.text)) for it in written]
    write_rows(tmp_path / "grades.jsonl", grades)
    chosen = select(
        prompts=tmp_path / "prompts.jsonl",
        responses=[tmp_path / "responses.jsonl"],
        grades=[tmp_path / "grades.jsonl"],
        settings=SelectionSettings(policy="stories260k"),
    )
    write_rows(tmp_path / "ladders.jsonl", chosen.ladders)
    assert max(len(ladder.references) for ladder in read_rows(tmp_path / "ladders.jsonl", Ladder)) == 3

    server = serve(_judge)
    (tmp_path / "models.yaml").write_text(f"judge: {{base_url: '{server.url}', model: judge}}")
    monkeypatch.chdir(tmp_path)
    overrides = [f"policy={MODEL}", "run.steps=4", "data.per_step=8", "optim.mini_batch=4", "generation.max_tokens=60"]
    recipe = load_recipe(ROOT / "src/longform/recipes/stories260k.yaml", Recipe, overrides)
    result = train(recipe, on_step=lambda report: None)

    before, after = load_file(MODEL / "model.safetensors"), load_file(result.policy_path / "model.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in after)
    with RunDirectory.read(result.path) as run:
        rollouts = list(run.database.rollouts())
        assert {it.outcome for it in rollouts} <= {"win", "tie", "loss"}
        assert len({it.text for it in rollouts}) > len(rollouts) / 2
    assert LocalWriter(str(result.policy_path)).write(rows[:1], settings=settings, seed=0, name="trained")[0].text
