"""All benchmarks by name: those of this package, and those of other packages (plugins)."""

import inspect
from pathlib import Path
from typing import Any

from longform.evaluation.benchmarks.arena_write import ArenaWrite
from longform.evaluation.benchmarks.benchmark import Benchmark
from longform.evaluation.benchmarks.creative_writing import CreativeWriting
from longform.evaluation.benchmarks.hellobench import HelloBench
from longform.evaluation.benchmarks.lifebench import LifeBench
from longform.evaluation.benchmarks.longbench_v2 import LongBenchV2, LongBenchV2Cot
from longform.evaluation.benchmarks.longbench_write import LongBenchWrite
from longform.evaluation.benchmarks.longform_writing import LongformWriting
from longform.evaluation.benchmarks.longwrite_ruler import LongWriteRuler
from longform.evaluation.benchmarks.sets import ForeignRowError
from longform.evaluation.benchmarks.writingbench import WritingBench
from longform.plugins import describe_unknown, load_plugin, plugin_names
from longform.records.errors import BadInputError

BENCHMARKS: dict[str, Benchmark[Any]] = {
    benchmark.card.name: benchmark
    for benchmark in (
        WritingBench(),
        LongBenchWrite(),
        CreativeWriting(),
        ArenaWrite(),
        LongBenchV2(),
        LongBenchV2Cot(),
        LongWriteRuler(),
        HelloBench(),
        LifeBench(),
        LongformWriting(),
    )
}


def benchmark_names() -> list[str]:
    """Names of this package's benchmarks, then of those of installed packages; none of the latter is imported."""
    return [*BENCHMARKS, *(name for name in plugin_names("longform.benchmarks") if name not in BENCHMARKS)]


def find_benchmark(name: str) -> Benchmark[Any]:
    """Return a benchmark of this package, of an entry point in `longform.benchmarks`, or of `module.path:Name`.

    Raises:
        BadInputError: unknown name (the error suggests the nearest one), or the plugin cannot be loaded.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if ":" not in name and name not in plugin_names("longform.benchmarks"):
        raise BadInputError(describe_unknown(name, benchmark_names(), what="benchmark"))
    benchmark = load_plugin(name, "longform.benchmarks").object
    if inspect.isclass(benchmark) and issubclass(benchmark, Benchmark):
        benchmark = benchmark()
    if not isinstance(benchmark, Benchmark) or not hasattr(benchmark, "card"):
        raise BadInputError(
            f"{name}: expected a subclass of longform.evaluation.benchmarks.benchmark.Benchmark with a card"
        )
    return benchmark


def list_benchmarks() -> tuple[list[Benchmark[Any]], list[str]]:
    """All benchmarks that can be loaded, and in words why others can't."""
    benchmarks, problems = [], []
    for name in benchmark_names():
        try:
            benchmarks.append(find_benchmark(name))
        except BadInputError as error:
            problems.append(str(error))
    return benchmarks, problems


def read_set(benchmark: Benchmark[Any], path: Path) -> list[Any]:
    """Read the items of a benchmark from a file, or from a folder with the files of its card.

    Raises:
        BadInputError: the data is invalid; if it belongs to another benchmark, the error names that one.
    """
    try:
        return benchmark.read(path)
    except ForeignRowError as error:
        others = [name for name, other in BENCHMARKS.items() if other.card.fields <= error.fields]
        hint = f"; the fields match {' or '.join(others)}" if others else ""
        raise BadInputError(f"{error}{hint}") from None
