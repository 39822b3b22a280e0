"""A fine-tuning, a reward model or a judge model that was killed ends with the very files of one that was not."""

import json
import signal

import pytest
import yaml
from test_pretrain_resume import IN_CHECKPOINT, IN_UPDATE

from artifacts import save_policy
from longform.judging.pairwise import ask_pairwise
from longform.miniature.policy import build_model, build_tokenizer, sft_rows
from longform.records.schemas import PromptRow
from longform.wording import load_wording

pytestmark = pytest.mark.slow
SETTINGS = {"steps": 12, "batch_size": 4, "max_tokens": 96, "lr": 1e-3, "warmup_steps": 2}
SHARED = {"out": "out", "settings": SETTINGS, "checkpoint_every": 3, "memory": {"max_tokens_per_microbatch": 200}}
RECIPES = {
    "sft": {"policy": "start", "data": {"rows": ["rows.jsonl"]}, "validation": {"share": 0.3, "every": 5}, **SHARED},
    "reward-model": {"base": "start", "preferences": ["pairs.jsonl"], "held_out": 0.2, **SHARED},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder / "start")
    rows = [{"messages": row["prompt"] + row["completion"]} for row in sft_rows(seed=1, count=25)]
    pairs = [
        {"prompt": f"Write {n}.", "chosen": "The fox. " * (n % 3 + 1), "rejected": "The key. " * (n % 4 + 1)}
        for n in range(30)
    ]
    for name, lines in (("rows", rows), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("command", ["sft", pytest.param("reward-model", marks=pytest.mark.full)])
def test_kills_leave_no_trace(forks, start, tmp_path, command):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        for path in start.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / "r.yaml").write_text(yaml.safe_dump(RECIPES[command]))
    forks.run(whole, [command, "r.yaml"])
    kills = [IN_UPDATE.format(optimizer="AdamW", number=5), IN_CHECKPOINT.format(number=6)]
    for number, first in enumerate(kills):
        forks.start(killed, [command, "r.yaml"], *(["--resume"] if number else []), first=first)
        assert forks.wait().returncode == -signal.SIGKILL, "it ended before it was killed"
        assert not (killed / "out").exists()
    forks.run(killed, [command, "r.yaml"], "--resume")
    assert not (killed / "out.checkpoints").exists()
    files = {path.name for path in (whole / "out").iterdir()}
    assert files == {path.name for path in (killed / "out").iterdir()}
    for name in files:
        assert (whole / "out" / name).read_bytes() == (killed / "out" / name).read_bytes(), name


def _make_judge_world(folder):
    """A base with long positions, and labelled pairs with reasons."""
    asked = ask_pairwise(
        PromptRow(id="p", prompt="Write 0."), text_a="The fox.", text_b="The key.", tag="t" * 12, wording=load_wording()
    )
    tokenizer = build_tokenizer(more=[asked])
    model = build_model(tokenizer, seed=0)
    model.config.max_position_embeddings = 2048
    tokenizer.model_max_length = 2048
    save_policy(model, tokenizer, folder / "start")
    pairs = [
        {
            "id": f"p{n}",
            "prompt": f"Write {n}.",
            "response_a": "The fox.",
            "response_b": "The key.",
            "label": "ab"[n % 2],
        }
        | {"reasons": {"ab": "So."}}
        for n in range(20)
    ]
    (folder / "labelled.jsonl").write_text("".join(json.dumps(it) + "\n" for it in pairs))
    recipe = {
        "base": "start",
        "pairs": ["labelled.jsonl"],
        "held_out": 0.2,
        "out": "out",
        "checkpoint_every": 2,
        "sft": {"steps": 4, "batch_size": 2, "max_tokens": 2000, "warmup_steps": 1},
        "rl": {"steps": 4, "per_step": 2, "group": 2, "evaluate_every": 4},
        "generation": {"max_tokens": 6, "max_prompt_tokens": 2000},
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe))


def test_a_judge_model_that_was_killed_in_each_stage_has_the_weights_of_one_that_was_not(forks, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        _make_judge_world(folder)
    forks.run(whole, ["judge-model", "r.yaml"])
    # The third update is the fine-tuning's; of a process that resumes it, the fifth is the reinforcement learning's third.
    for number, update in enumerate((3, 5)):
        first = IN_UPDATE.format(optimizer="AdamW", number=update)
        forks.start(killed, ["judge-model", "r.yaml"], *(["--resume"] if number else []), first=first)
        assert forks.wait().returncode == -signal.SIGKILL, "it ended before it was killed"
        assert not (killed / "out").exists()
    assert (killed / "out.checkpoints" / "rl" / "checkpoints" / "step-000002").exists()
    forks.run(killed, ["judge-model", "r.yaml"], "--resume")
    assert not (killed / "out.checkpoints").exists()
    files = {path.name for path in (whole / "out").iterdir() if path.is_file()}
    assert files == {path.name for path in (killed / "out").iterdir() if path.is_file()}
    for name in files:
        assert (whole / "out" / name).read_bytes() == (killed / "out" / name).read_bytes(), name
