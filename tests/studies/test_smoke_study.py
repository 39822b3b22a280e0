"""The study that comes with the package as an example, whole: three arms with three seeds in the miniature world."""

import json
import subprocess
import sys

ARMS = {"margin", "random", "mixed"}


def longform(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "longform", *arguments], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shipped_study_runs_from_its_copy_to_its_tables(tmp_path):
    longform(tmp_path, "recipe", "copy", "studies/smoke")
    result = json.loads(longform(tmp_path, "study", "run", "smoke.yaml", "--jobs", "2", "--json"))
    status = json.loads(longform(tmp_path, "study", "status", "smoke.yaml", "--json"))
    assert status["done"] == status["tasks"] == result["tasks"]
    means, *differences = json.loads(longform(tmp_path, "study", "table", "smoke.yaml", "--json"))["tables"]
    assert {row["arm"] for row in means["rows"]} == ARMS
    for row in means["rows"]:
        assert row["seeds"] == 3
        assert row["grade"]["low"] < row["grade"]["estimate"] < row["grade"]["high"]
    assert [table["title"] for table in differences][-1] == "Hypotheses"
    page = longform(tmp_path, "study", "plot", "smoke.yaml")
    assert "runs/smoke/smoke.html" in page
