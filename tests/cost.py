"""How the cost of a function grows with its input: processor time of this process, so other processes hardly matter."""

import time
from collections.abc import Callable

NOISE_SECONDS = 0.05


def cpu_seconds(work: Callable[[], object], *, repeat: int = 3) -> float:
    """The least processor time of a few calls."""
    costs = []
    for _ in range(repeat):
        started = time.process_time()
        work()
        costs.append(time.process_time() - started)
    return min(costs)


def assert_linear(work: Callable[[int], object], size: int, *, factor: int = 8) -> None:
    """`factor` times the input may cost three times what linear growth would; quadratic growth costs `factor` times that."""
    assert factor > 3
    small, large = (cpu_seconds(lambda length=length: work(length)) for length in (size, factor * size))
    assert large < 3 * factor * (small + NOISE_SECONDS / factor), (small, large)
