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
    """`factor` times the input may cost three times what linear growth would; quadratic growth costs `factor` times that.

    The large input is measured again, up to twice, only where it cost more than that.
    """
    assert factor > 3
    small = cpu_seconds(lambda: work(size))
    most = 3 * factor * (small + NOISE_SECONDS / factor)
    costs: list[float] = []
    while len(costs) < 3 and (not costs or costs[-1] >= most):
        costs.append(cpu_seconds(lambda: work(factor * size), repeat=1))
    assert min(costs) < most, (small, costs)
