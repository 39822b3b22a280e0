"""What the miniature's judge and examiner give to texts that cost nothing, beside the built-in writers.

python benchmarks/judge_holes.py
"""

from collections.abc import Callable
from statistics import mean

from longform.miniature.judge import EXAMINER, JUDGE, grade, measure
from longform.miniature.world import StoryRequest, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story

CHEAP: dict[str, Callable[[StoryRequest], str]] = {
    "nothing": lambda request: "",
    "bare list of the required terms": lambda request: ", ".join(request.entities.values()) + ".",
    "echoed request": lambda request: request.text,
    "an apprentice's story twice": lambda request: " ".join([write_story(request, level="apprentice")] * 2),
    "a master's story twice": lambda request: " ".join([write_story(request, level="master")] * 2),
}


def main() -> None:
    """Print mean grades, 1 to 10, without noise, over 200 held-out requests."""
    requests = [parse_request(row.request) for row in prompts(seed=4, split="held-out", count=200)]
    writers = {f"writer: {level}": lambda request, level=level: write_story(request, level=level) for level in LEVELS}
    print(f"{'text':<34}{'judge':>7}{'examiner':>10}")
    for name, write in {**CHEAP, **writers}.items():
        measured = [measure(request, write(request)) for request in requests]
        judge, examiner = (mean(grade(it, style) for it in measured) for style in (JUDGE, EXAMINER))
        print(f"{name:<34}{judge:>7.2f}{examiner:>10.2f}")


if __name__ == "__main__":
    main()
