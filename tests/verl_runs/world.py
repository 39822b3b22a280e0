"""A small world for real verl runs on a processor: an untrained miniature writer, ladders, prompts, a recipe."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from transformers import LlamaConfig, LlamaForSequenceClassification

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference

TESTS = Path(__file__).parents[1]
ON_CPU = {
    "actor_rollout_ref.rollout.name": "cpu",
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "actor_rollout_ref.model.use_remove_padding": False,
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "trainer.device": "cpu",
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 1,
}
CRITIC_ON_CPU = {
    "critic.model.use_remove_padding": False,
    "+critic.model.override_config.attn_implementation": "sdpa",
}
"""What a processor lacks; everything else is verl as it is."""


def write_world(folder, judge_url):
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder / "policy")
    ladders = []
    for row in prompts(seed=1, split="train", count=32):
        request = parse_request(row.request)
        texts = [("policy", "He went home."), *((it, write_story(request, level=it)) for it in ("novice", "master"))]
        references = [Reference(model=model, text=text, score=n) for n, (model, text) in enumerate(texts)]
        ladders.append(Ladder(**row.model_dump(), references=references, policy_score=0, potential=2))
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.num_labels = 1
    LlamaForSequenceClassification(config).save_pretrained(folder / "writing")
    tokenizer.save_pretrained(folder / "writing")
    write_rows(folder / "ladders.jsonl", ladders)
    write_rows(folder / "validation.jsonl", prompts(seed=2, split="held-out", count=3))
    prices = {"prompt": 1.0, "completion": 2.0}
    models = {
        name: {"base_url": judge_url, "model": name, "retries": 0, "prices": prices}
        for name in ("judge", "examiner", "writing")
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(models))


def write_recipe(folder, name, **sections):
    is_ppo = sections.get("method", "ppo") == "ppo"
    recipe = {
        "engine": "cluster",
        "policy": "policy",
        "data": {"ladders": "ladders.jsonl", "per_step": 4},
        "rewards": [{"kind": "pairwise", "judge": "judge", "max_judge_failure_rate": 1.0}],
        "validation": {"prompts": "validation.jsonl", "every": 4, "judge": "examiner"},
        "generation": {"max_tokens": 16, "max_prompt_tokens": 96},
        "cluster": {"gpus_per_node": 1, "reward_workers": 1, "verl": ON_CPU | (CRITIC_ON_CPU if is_ppo else {})},
        "run": {"name": name, "steps": 4, "checkpoint_every": 2},
        **sections,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(recipe))
    return folder / f"{name}.yaml"


def environment():
    return os.environ | {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "verl_cpu.plugin",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "RAY_AUTH_MODE": "disabled",
        "LONGFORM_WITHOUT_TRL": "1",
    }


def start(folder, *command):
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(folder, *arguments):
    return start(folder, "-m", "longform", "train", *map(str, arguments))


def finished(process, *, code=0, patience=280):
    try:
        said, _ = process.communicate(timeout=patience)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, said[-4000:]
    return said


def _last_step(run):
    """The last step on record; 0 while the database is being created."""
    try:
        with RunDirectory.read(run) as opened:
            return opened.database.last_step()
    except BadInputError:
        return 0


def kill_after(process, run, step, *, patience=280):
    """Kill a run and all that it started as soon as a step is on record."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends and process.poll() is None:
        if (run / "run.sqlite").exists() and _last_step(run) >= step:
            break
        time.sleep(0.1)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert was_running, said[-4000:]
