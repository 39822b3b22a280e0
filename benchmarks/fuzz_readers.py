"""Mutated files for every reader: a result or one line, never a traceback, within 10 s and 1 GB.

    python benchmarks/fuzz_readers.py [CASES] [READER...]

Half of the cases are valid in form: fields are dropped, retyped, nested, duplicated or very long. The others are
then changed byte by byte. A case follows from its number, so `check(READER, NUMBER, FOLDER)` repeats one.
tests/unit/records runs the first 200 of each reader.
"""

import csv
import io
import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from longform.endpoints.models import read_models
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.catalogue import BENCHMARKS, read_set
from longform.judging.judge_template import JudgeTemplate
from longform.recipe.loading import load_recipe
from longform.recipe.recipe import Recipe
from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Game, Grade, Ladder, Pair, Preference, Prompt, Response, Row
from longform.selection.pool import PoolSettings, build_pool
from longform.writers.think import ThinkPrompt

MAX_SECONDS, MAX_MEMORY = 10, 1 << 30
TEXT = "Write a long story about the keeper of a lighthouse. 写一篇关于灯塔的故事。"
TURNS = [{"role": "system", "content": "Be long."}, {"role": "user", "content": TEXT}]
REFERENCES = [{"model": f"m{i}", "text": TEXT, "score": i} for i in range(3)]
VERDICTS = {"judge": {"ab": "a", "ba": "tie"}}
ROWS: dict[type[Row], dict[str, Any]] = {
    Prompt: {"id": "p", "prompt": TEXT, "criteria": [{"name": "n"}], "length_range": [1, 2], "meta": {"a": 1}},
    Response: {"prompt_id": "p", "model": "m", "sample": 0, "text": TEXT, "finish_reason": "stop", "meta": {}},
    Grade: {"prompt_id": "p", "model": "m", "score": 4.5, "dimensions": {"clarity": 3}, "judge": "j"},
    Ladder: {"id": "p", "prompt": TURNS, "references": REFERENCES, "policy_score": 1.0, "potential": 2.0},
    Game: {"prompt_id": "p", "model_a": "m", "model_b": "n", "winner": "a", "order": "ab", "margin": 0.5},
    Pair: {"id": "p", "prompt": TEXT, "response_a": "a", "response_b": "b", "label": "tie", "verdicts": VERDICTS},
    Preference: {"prompt": TURNS, "chosen": "a", "rejected": "b", "margin": 1.0},
}
CHAT_TURNS = [{"role": "user", "content": TEXT, "language": "English"}, {"role": "assistant", "content": "No."}]
CHATS: list[dict[str, Any]] = [
    {"conversation_hash": "h", "conversation": CHAT_TURNS, "language": "English", "toxic": False, "redacted": False},
    {"conversation_id": "c", "conversation": CHAT_TURNS, "openai_moderation": [{"flagged": False}]},
    {"messages": TURNS, "length": 9},
    {
        "index": 1,
        "domain1": "d",
        "lang": "en",
        "query": TEXT,
        "checklist": [{"name": "n", "criteria_description": "d"}],
    },
    {"writing_prompt": TEXT, "seed_modifiers": ["a"]},
]
BANDS = dict.fromkeys(("1-2", "3-4", "5-6", "7-8", "9-10"), "b")
SETS: dict[str, dict[str, Any]] = {
    "longbench-write": {"prompt": TEXT, "type": "News Report", "length": 100},
    "longwrite-ruler": {"prompt": TEXT, "type": "t", "length": 100},
    "creative-writing": {"writing_prompt": "A tale. <SEED>", "seed_modifiers": ["a", "b"], "category": "c"},
    "arena-write": {"idx": 1, "question": TEXT, "type": "t", "length": 100, "baseline_response": {"m": "text"}},
    "writingbench": {
        "index": 1,
        "domain1": "d",
        "domain2": "e",
        "lang": "en",
        "query": TEXT,
        "checklist": [{"name": f"c{i}", "criteria_description": "d"} | BANDS for i in range(5)],
    },
    "longbench-v2": {"_id": "1", "domain": "d", "sub_domain": "s", "difficulty": "easy", "length": "short"}
    | {
        "question": "q",
        "choice_A": "a",
        "choice_B": "b",
        "choice_C": "c",
        "choice_D": "d",
        "answer": "A",
        "context": "x",
    },
}
MODELS = {"judge": {"base_url": "http://127.0.0.1:1/v1", "model": "m", "prices": {"prompt": 1, "completion": 2}}}
RECIPE = {
    "policy": "m",
    "data": {"ladders": "l.jsonl", "per_step": 4},
    "rewards": [{"kind": "pairwise", "judge": "judge"}],
    "run": {"name": "r", "steps": 3},
}


def main() -> None:
    """Run the cases of each reader in a process of its own and print a line for each; exits with 1 on a fault."""
    cases, names = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, sys.argv[2:] or list(READERS)
    failed = False
    print(f"{'reader':<12} {'cases':>6} {'read':>6} {'refused':>7} {'failed':>6} {'slowest':>9} {'peak memory':>12}")
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            read, refused, faults, slowest, memory = pool.apply(run, (name, cases))
        over = slowest > MAX_SECONDS or memory > MAX_MEMORY
        failed |= bool(faults) or over
        print(
            f"{name:<12} {cases:>6} {read:>6} {refused:>7} {len(faults):>6} {slowest:>7.2f} s {memory >> 20:>9} MB",
            flush=True,
        )
        print(ascii("".join(faults[:3])).replace("\\n", "\n") if faults else "", end="", flush=True)
    sys.exit(failed)


def run(name: str, cases: int) -> tuple[int, int, list[str], float, int]:
    """The files that were read and refused, faults as text, the slowest case's seconds, and the peak memory in bytes."""
    read, faults, slowest = 0, [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cases):
            began = time.perf_counter()
            try:
                read += check(name, number, Path(folder))
            except BaseException:  # a fault of any kind, including the alarm
                faults.append(f"--- {name} {number}\n{''.join(traceback.format_exc()[-1500:])}")
            slowest = max(slowest, time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return read, cases - read - len(faults), faults, slowest, memory


def check(name: str, number: int, folder: Path) -> bool:
    """Read the file of a case; return whether it was read rather than refused.

    Raises:
        TimeoutError: after 10 s.
        AssertionError: the refusal is not one line that names the file.
        Exception: anything that a reader raises by mistake.
    """
    stream = random.Random(f"{name}/{number}")
    signal.signal(signal.SIGALRM, _time_out)
    signal.alarm(MAX_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name](stream, folder, number % 2 == 1)
        return True
    except BadInputError as error:
        assert "\n" not in str(error), f"several lines: {error}"
        assert str(folder) in str(error), f"no file is named: {error}"
        return False
    finally:
        signal.alarm(0)


def _time_out(*_: object) -> None:
    raise TimeoutError


def _rows_file(stream: random.Random, path: Path, rows: list[Any], broken: bool) -> None:
    match path.suffix:
        case ".parquet":
            content = _parquet(stream, rows)
        case ".csv" | ".tsv":
            content = _csv(stream, rows, "\t" if path.suffix == ".tsv" else stream.choice(",,;"))
        case ".json":
            whole = rows if stream.random() < 0.7 else {str(i): row for i, row in enumerate(rows)}
            content = _encoded(stream, json.dumps(whole, ensure_ascii=stream.random() < 0.5))
        case _:
            lines = [json.dumps(row, ensure_ascii=stream.random() < 0.5) for row in rows]
            content = _encoded(stream, stream.choice(["\n", "\n", "\r\n", "\n\n"]).join(lines) + "\n")
    path.write_bytes(break_bytes(stream, content) if broken else content)


def _read_typed(suffixes: tuple[str, ...]) -> Callable[[random.Random, Path, bool], None]:
    def read(stream: random.Random, folder: Path, broken: bool) -> None:
        schema = stream.choice(list(ROWS))
        rows = _mutate_one(stream, [ROWS[schema] | _keys(schema, i) for i in range(stream.randint(1, 4))])
        path = folder / f"rows{stream.choice(suffixes)}"
        _rows_file(stream, path, rows, broken)
        columns = {"prompt": stream.choice(["prompt", "text", "meta"])} if stream.random() < 0.1 else {}
        reading = Reading(columns, skip_bad_rows=stream.choice([0, 0, 2]))
        write_rows(folder / "out.jsonl", read_rows(path, schema, reading))

    return read


def _keys(schema: type[Row], number: int) -> dict[str, Any]:
    return {name: f"{name}{number}" for name in ("id", "prompt_id") if name in schema.model_fields}


def _read_yaml(stream: random.Random, folder: Path, broken: bool) -> None:
    path, is_recipe = folder / "a.yaml", stream.random() < 0.5
    content = mutate(stream, RECIPE if is_recipe else MODELS)
    try:
        style = stream.choice([None, True, False])
        text = yaml.safe_dump(content, allow_unicode=True, default_flow_style=style)
    except RecursionError:
        text = json.dumps(content)
    text = _aliases(stream) if stream.random() < 0.2 else text
    encoded = text.encode("utf-8", "surrogatepass")
    path.write_bytes(break_bytes(stream, encoded) if broken else encoded)
    if is_recipe:
        load_recipe(path, Recipe)
    else:
        read_models(path)


def _aliases(stream: random.Random) -> str:
    depth, uses = stream.choice([2, 5, 30, 300]), stream.randint(1, 4)
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, depth):
        parts = ", ".join([f"*a{i - 1}"] * uses)
        lines.append(
            f"a{i}: &a{i} " + stream.choice([f"{{<<: [{parts}], k{i}: 1}}", f"[{parts}]", f"{{y: [{parts}]}}"])
        )
    return "\n".join(lines)


def _read_template(stream: random.Random, folder: Path, broken: bool) -> None:
    path = folder / "template.txt"
    pieces = [
        "{request}",
        "{text}",
        "{criteria}",
        "{",
        "}",
        "{{request}}",
        "{request!r}",
        "{0}",
        "%s",
        _text(stream),
        "\n",
    ]
    parts = ["{request}", "{text}"][: stream.choice([0, 1, 1, 2, 2, 2])] + stream.choices(
        pieces[2:], k=stream.randint(0, 12)
    )
    stream.shuffle(parts)
    content = _encoded(stream, "".join(parts))
    path.write_bytes(break_bytes(stream, content) if broken else content)
    if stream.random() < 0.5:
        template = JudgeTemplate.read(path, needs=("request", "text"), takes=("criteria",))
        template.fill(request=_text(stream), text=_text(stream), criteria=_text(stream))
    else:
        think = ThinkPrompt.read(stream.choice(["on", "direct"]), path)
        think.messages(Prompt(id="p", prompt="Write."))
        think.text(Prompt(id="p", prompt="Write."))


def _read_set(stream: random.Random, folder: Path, broken: bool) -> None:
    name = stream.choice(list(SETS))
    benchmark = BENCHMARKS[name]
    own = {"creative-writing": "prompt_id", "arena-write": "idx", "writingbench": "index", "longbench-v2": "_id"}.get(
        name
    )
    rows = _mutate_one(stream, [SETS[name] | ({own: i} if own else {}) for i in range(stream.randint(1, 4))])
    path = folder / f"set{stream.choice(['.jsonl', '.json', '.parquet', '.csv'])}"
    _rows_file(stream, path, rows, broken)
    items = read_set(benchmark, path)
    prompts = benchmark.prompts(items)
    write_rows(folder / "out.jsonl", prompts)
    texts = [Response(prompt_id=prompt.id, model="a writer of no set", text="A text.") for prompt in prompts[:4]]
    material = Material({item.id: item for item in items}, texts)
    for question in list(benchmark.questions(material, Answers(), JudgePrompt(b"secret")))[:4]:
        question.message()


def _read_chats(stream: random.Random, folder: Path, broken: bool) -> None:
    kind = stream.choice(CHATS)
    own = next((name for name in ("conversation_hash", "conversation_id", "index") if name in kind), None)
    rows = _mutate_one(stream, [kind | ({own: f"{i}"} if own else {}) for i in range(stream.randint(1, 4))])
    path = folder / f"chats{stream.choice(['.jsonl', '.parquet', '.json'])}"
    _rows_file(stream, path, rows, broken)
    build_pool([str(path)], PoolSettings(min_words=1), out=folder / "out.jsonl", dropped=folder / "dropped.jsonl")


READERS: dict[str, Callable[[random.Random, Path, bool], None]] = {
    "jsonl": _read_typed((".jsonl", ".jsonl", ".json")),
    "csv": _read_typed((".csv", ".tsv")),
    "parquet": _read_typed((".parquet",)),
    "yaml": _read_yaml,
    "templates": _read_template,
    "sets": _read_set,
    "chats": _read_chats,
}
"""Name -> reads a random file written to a folder; with True, one whose bytes are changed too."""


def mutate(stream: random.Random, value: Any) -> Any:
    """A value like `value` with up to four changes to fields at any depth; sometimes none."""
    value = json.loads(json.dumps(value))
    for _ in range(stream.choice([0, 0, 1, 1, 2, 4])):
        value = _mutate_once(stream, value)
    return value


def _mutate_one(stream: random.Random, rows: list[Any]) -> list[Any]:
    """The rows, one of them changed, so that the others are often read."""
    at = stream.randrange(len(rows))
    return [mutate(stream, row) if i == at else row for i, row in enumerate(rows)]


def _mutate_once(stream: random.Random, value: Any) -> Any:
    if stream.random() < 0.5 and isinstance(value, dict | list) and value:  # go deeper
        key = stream.choice(list(value)) if isinstance(value, dict) else stream.randrange(len(value))
        value[key] = _mutate_once(stream, value[key])
        return value
    if not isinstance(value, dict) or not value:
        return stream.choice([_value(stream), [value], {"value": value}, str(value), [value, value]])
    key = stream.choice(list(value))
    match stream.randrange(8):
        case 0:
            del value[key]
        case 1:
            value[key] = _value(stream)
        case 2:
            value[key] = stream.choice([[value[key]], {key: value[key]}, [[value[key]]]])
        case 3:
            value[stream.choice([key.upper(), f"{key} ", _text(stream)[:50], "extra"])] = value[key]
        case 4:
            value[key] = stream.choice(["x", "字", "word ", "\u2028", "{"]) * stream.choice([1000, 100_000])
        case 5:
            value[key] = None
        case 6:
            value[key] = value[stream.choice(list(value))]
        case _:
            value[key] = str(value[key])
    return value


def _value(stream: random.Random) -> Any:
    numbers = [0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")]
    return stream.choice(
        [
            *(None, True, False, stream.choice(numbers)),
            *(_text(stream), [], {}, [_text(stream)], {_text(stream)[:20]: 1}),
            _nested(stream.choice([3, 60, 150, 250, 600])),
        ]
    )


def _nested(depth: int) -> Any:
    value: Any = 1
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    return value


def _text(stream: random.Random) -> str:
    pieces = [
        "a",
        " ",
        "\n",
        "\r",
        "\u2028",
        "\x00",
        "\ufeff",
        "字",
        "\U0001f600",
        "\ud83d",
        '"',
        "\\",
        "{",
        "<think>",
        "1,5",
    ]
    return "".join(stream.choices(pieces, k=stream.choice([0, 1, 5, 50])))


def _encoded(stream: random.Random, text: str) -> bytes:
    encoding = stream.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
    return text.encode(encoding, "surrogatepass")


def _csv(stream: random.Random, rows: list[Any], delimiter: str) -> bytes:
    rows = [row if isinstance(row, dict) else {"value": row} for row in rows]
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=stream.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name) for name in names]
        texts = [cell if isinstance(cell, str) else "" if cell is None else json.dumps(cell) for cell in cells]
        writer.writerow(texts[: stream.choice([len(texts)] * 8 + [1])])
    return _encoded(stream, file.getvalue())


def _parquet(stream: random.Random, rows: list[Any]) -> bytes:
    rows = [row if isinstance(row, dict) else {"value": row} for row in rows]
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    columns = {_plain(name): _column(stream, [row.get(name) for row in rows]) for name in names}
    file = io.BytesIO()
    pq.write_table(pa.table(columns) if columns else pa.table({"none": pa.array([1])}), file)
    return file.getvalue()


def _column(stream: random.Random, values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
        if stream.random() < 0.05:
            return pa.array([10**15] * len(values), pa.timestamp("ms"))
        return column if _is_writable(column.type) else pa.array(["text"] * len(values))
    except (pa.ArrowException, OverflowError, ValueError, UnicodeError, TypeError):
        bad = pa.array([str(value).encode("utf-8", "surrogatepass") for value in values], pa.binary())
        return pa.Array.from_buffers(pa.string(), len(bad), bad.buffers()) if stream.random() < 0.5 else bad


def _is_writable(kind: Any, depth: int = 20) -> bool:
    """Whether pyarrow can write a type: structs have fields, and nothing is deep."""
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return (
        depth > 0 and (bool(inner) or not pa.types.is_struct(kind)) and all(_is_writable(it, depth - 1) for it in inner)
    )


def _plain(name: str) -> str:
    return name.encode("utf-8", "replace").decode() or "empty"


def break_bytes(stream: random.Random, content: bytes) -> bytes:
    """`content` with one to five changes to its bytes."""
    broken = bytearray(content)
    for _ in range(stream.randint(1, 5)):
        at = stream.randrange(len(broken) + 1)
        match stream.randrange(6):
            case 0:
                broken[at : at + 1] = bytes([stream.randrange(256)])
            case 1:
                del broken[at : at + stream.choice([1, 1, 5, 100])]
            case 2:
                broken[at:at] = stream.choice(
                    [b"\xff", b"\x00", b"\n", b'"', b"{", b"[" * 2000, b"\xed\xa0\x80", b"}", b",", b"\\"]
                )
            case 3:
                del broken[at:]
            case 4:
                broken[at:at] = broken[at : at + 50] * stream.choice([1, 20])
            case _:
                broken[at:at] = bytes(stream.randrange(256) for _ in range(8))
    return bytes(broken)


if __name__ == "__main__":
    main()
