"""Selection on real responses with real grades: HelloBench's 123 requests, eight models, policy qwen2_7b.

python benchmarks/hellobench_selection.py ../shared/data
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert the files of the folder given and run `longform select` on them."""
    source = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        names = {name: f"{folder}/{name}.jsonl" for name in ("prompts", "responses", "grades", "ladders")}
        prompts = [{"id": row["prompt_id"], "prompt": row["prompt"]} for row in rows(source, "prompts")]
        written = list(rows(source, "responses"))
        texts = [{"prompt_id": r["prompt_id"], "model": r["model"], "text": r["response"]} for r in written]
        grades = [{"prompt_id": r["prompt_id"], "model": r["model"], "score": r["score"]} for r in written]
        for name, content in (("prompts", prompts), ("responses", texts), ("grades", grades)):
            Path(names[name]).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        files = [f"--{name}={names[name]}" for name in ("prompts", "responses", "grades")]
        choice = ["--policy=qwen2_7b", "--top-k=50", "--floor=p20", f"--out={names['ladders']}"]
        subprocess.run([sys.executable, "-m", "longform", "select", *files, *choice], check=True)


def rows(source: Path, name: str) -> Iterator[dict[str, Any]]:
    """Rows of one of HelloBench's files."""
    content = (source / f"hellobench_htg_{name}.jsonl").read_text(encoding="utf-8")
    return (json.loads(line) for line in content.split("\n") if line)


if __name__ == "__main__":
    main()
