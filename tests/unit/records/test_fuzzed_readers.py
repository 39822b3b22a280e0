"""The first 200 mutated files of each reader end in a result or in one line (benchmarks/fuzz_readers.py runs 10,000)."""

import importlib.util
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "fuzz_readers.py"
spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
assert spec is not None
assert spec.loader is not None
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line_that_names_it(reader, tmp_path):
    read = 0
    for number in range(200):
        began = time.thread_time()
        read += fuzz.check(reader, number, tmp_path)
        assert time.thread_time() - began < fuzz.MAX_SECONDS, number
    assert 10 <= read <= 190
