"""All benchmarks by name; a new one is registered here."""

from pathlib import Path
from typing import Any

from longform.evaluation.benchmarks.arena_write import ArenaWrite
from longform.evaluation.benchmarks.benchmark import Benchmark
from longform.evaluation.benchmarks.creative_writing import CreativeWriting
from longform.evaluation.benchmarks.longbench_v2 import LongBenchV2
from longform.evaluation.benchmarks.longbench_write import LongBenchWrite
from longform.evaluation.benchmarks.longwrite_ruler import LongWriteRuler
from longform.evaluation.benchmarks.sets import ForeignRowError
from longform.evaluation.benchmarks.writingbench import WritingBench
from longform.records.errors import BadInputError

BENCHMARKS: dict[str, Benchmark[Any]] = {
    benchmark.card.name: benchmark
    for benchmark in (
        WritingBench(),
        LongBenchWrite(),
        CreativeWriting(),
        ArenaWrite(),
        LongBenchV2(),
        LongWriteRuler(),
    )
}


def find_benchmark(name: str) -> Benchmark[Any]:
    """The benchmark called `name`.

    Raises:
        BadInputError: unknown name; lists the known ones.
    """
    if name not in BENCHMARKS:
        raise BadInputError(f"unknown benchmark {name!r}; available: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def read_set(benchmark: Benchmark[Any], path: Path) -> list[Any]:
    """The items of a benchmark's set: a file, or a folder with the files that its card names.

    Raises:
        BadInputError: names the file and what is wrong with it; for the set of another benchmark, also that one.
    """
    try:
        return benchmark.read(path)
    except ForeignRowError as error:
        others = [name for name, other in BENCHMARKS.items() if other.card.fields <= error.fields]
        hint = f"; its fields are those of {' or '.join(others)}" if others else ""
        raise BadInputError(f"{error}{hint}") from None
