"""benchmarks/gpu_check.py runs on a CPU with a tiny model."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu_check.py"
CPU_SECONDS = 40


@pytest.mark.full
def test_every_setting_is_measured_and_a_resumed_step_equals_a_straight_one(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(SCRIPT), "--tiny", "--json", str(tmp_path / "figures.json")]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert after.ru_utime - before.ru_utime < CPU_SECONDS
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["resumed"] == {}
    assert set(figures["checked"]) == {"tiny PPO", "tiny GRPO", "tiny LoRA (PPO)", "tiny SFT", "tiny GRPO, paged"}
    for title, it in figures["checked"].items():
        assert it["error"] is None, title
        assert min(it["measured"][name] for name in ("planned", "measured", "updated")) > 0, title
        if title != "tiny SFT":
            assert it["measured"]["written"] > 0, title
            assert 0 <= it["mean_difference"] <= it["largest_difference"] < 0.1, title
