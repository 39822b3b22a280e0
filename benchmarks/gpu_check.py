"""What a GPU does with longform: speed by phase, memory against the plan, the first ratios, and resuming.

    python benchmarks/gpu_check.py [--sizes 0.5b 1.5b] [--tokens 256] [--per-step 32] [--minutes 8] [--json OUT]
    python benchmarks/gpu_check.py --tiny      (a CPU, under a minute)

For a machine with an accelerator and without a network: models of random weights (one_device.py), the miniature's server as
judge, nothing downloaded. In bfloat16 PPO, GRPO, LoRA and SFT take two steps each, and one table has for each:

- tokens a second while writing and while updating, in the second step;
- the most memory that torch allocated, with what the plan counts for the device, against the plan;
- mean and largest absolute difference of log-probabilities at generation and in training, over the first mini-batch,
  before the first update: how far from 1 the first ratios are.

GRPO is measured with the other engines too: paged, and vllm and sglang where their commands are installed, with all weights
and with adapters; there the differences are those of the engine's log-probabilities from the trainer's (`engine/mean`,
`engine/largest`) in the first step.

Then GRPO of the smallest size goes on for one step from a checkpoint behind its second step; the metrics of that step must
be those of a run without a break. A setting that fails has its error in the table, and the rest goes on; what there is no
time for is left out. Exits with 1 where something failed or the resumed step differs.
"""

import argparse
import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from one_device import (
    ENGINES,
    SETTINGS,
    Measured,
    build_recipe,
    measure_run,
    measure_stage,
    train_until,
    write_inputs,
    write_model,
)

from longform.cli.output import print_table
from longform.miniature.server import serve_in_background
from longform.planning.memory import GIB
from longform.records.run_directory import RunDirectory
from longform.training import grpo, ppo
from longform.training.forward import response_log_probs
from longform.writers.settings import SERVED

CHECKED = {
    "PPO": "full-bfloat16",
    "GRPO": "grpo-bfloat16",
    "LoRA (PPO)": "adapters-bfloat16",
    "SFT": "sft-bfloat16-frugal",
}
ENGINE_CHECKS = {
    "paged": {"GRPO, paged": "grpo-bfloat16-paged"},
    "vllm": {"GRPO, vllm": "grpo-bfloat16-vllm", "GRPO (LoRA), vllm": "grpo-adapters-bfloat16-vllm"},
    "sglang": {"GRPO, sglang": "grpo-bfloat16-sglang", "GRPO (LoRA), sglang": "grpo-adapters-bfloat16-sglang"},
}
TINY = {"sizes": ["tiny"], "tokens": 12, "per_step": 4}


class Checked(NamedTuple):
    """One setting."""

    measured: Measured | None
    mean_difference: float | None
    """In nats; None where nothing is written."""
    largest_difference: float | None
    error: str | None
    seconds: float


def main() -> None:
    """Check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["0.5b", "1.5b"])
    parser.add_argument("--tokens", type=int, default=256, help="of each response")
    parser.add_argument("--per-step", type=int, default=32, help="rollouts; a multiple of 8")
    parser.add_argument("--minutes", type=float, default=8.0, help="no setting begins when so much has passed")
    installed = ["paged", *(it for it in SERVED if shutil.which(it))]
    parser.add_argument("--engines", nargs="*", choices=ENGINE_CHECKS, default=installed, help="beside own")
    parser.add_argument("--tiny", action="store_true", help="a model, lengths and batches for a CPU")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.tiny:
        vars(options).update(TINY)
    began = time.perf_counter()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, torch {torch.__version__}, {options.per_step} responses of {options.tokens} tokens", flush=True)
    checked: dict[str, Checked] = {}
    differing: dict[str, tuple[float, float]] | None = None
    with tempfile.TemporaryDirectory() as parent, serve_in_background() as base_url:
        for size in options.sizes:
            folder = Path(parent) / size
            folder.mkdir()
            write_model(folder / "start", size=size)
            write_inputs(folder, base_url, count=options.per_step)
            if differing is None:
                differing = resumed_differently(folder, per_step=options.per_step, tokens=min(options.tokens, 32))
                print(f"resumed: {describe(differing)}, {time.perf_counter() - began:.0f} s", flush=True)
            settings = CHECKED | {title: name for it in options.engines for title, name in ENGINE_CHECKS[it].items()}
            for title, name in settings.items():
                if time.perf_counter() - began > 60 * options.minutes:
                    print(f"{size} {title}: left out, {options.minutes:g} minutes have passed")
                    continue
                found = check(folder, name, tokens=options.tokens, per_step=options.per_step)
                checked[f"{size} {title}"] = found
                print(f"{size} {title}: {found.error or f'{found.seconds:.0f} s'}", flush=True)
    print_checked(checked)
    print(f"a step from a checkpoint: {describe(differing)}; {time.perf_counter() - began:.0f} s in all")
    if options.json:
        content = {title: it._asdict() | {"measured": plain(it.measured)} for title, it in checked.items()}
        options.json.write_text(json.dumps({"device": device, "checked": content, "resumed": differing}, indent=1))
    sys.exit(bool(differing) or any(it.error for it in checked.values()))


def check(folder: Path, name: str, *, tokens: int, per_step: int) -> Checked:
    """Two steps of a setting; whatever goes wrong is its error."""
    began = time.perf_counter()
    measured, error = None, None
    with first_differences() as differences:
        try:
            if name in SETTINGS | ENGINES:
                measured = measure_run(folder, name, tokens=tokens, per_step=per_step, checkpoint=False)
            else:
                measured = measure_stage(folder, name, tokens=tokens, per_step=per_step)
        except Exception as raised:  # the other settings are still to be checked
            error = f"{type(raised).__name__}: {' '.join(str(raised).split())[:200]}"
    free_memory()
    found = torch.cat(differences).abs() if differences else None
    mean, largest = (None, None) if found is None else (found.mean().item(), found.max().item())
    if name in ENGINES and error is None:
        with RunDirectory.read(folder / "runs" / name) as run:
            mean, largest = (run.database.metric(f"engine/{it}")[0][1] for it in ("mean", "largest"))
    return Checked(measured, mean, largest, error, time.perf_counter() - began)


@contextmanager
def first_differences() -> Iterator[list[torch.Tensor]]:
    """Log-probabilities in training less those at generation, of the tokens of the first mini-batch that is learned."""
    found: list[torch.Tensor] = []
    update = ppo.update_policy

    def measure_and_update(models: Any, optimizer: Any, mini_batch: Any, *arguments: Any, **settings: Any) -> Any:
        if not found:
            with torch.no_grad(), models.as_policy() as policy, models.autocast():
                for micro in mini_batch:
                    log_probs = response_log_probs(policy, micro.batch, temperature=settings["temperature"])
                    found.append((log_probs - micro.batch.log_probs)[micro.batch.mask.bool()])
        return update(models, optimizer, mini_batch, *arguments, **settings)

    ppo.update_policy = grpo.update_policy = measure_and_update
    try:
        yield found
    finally:
        ppo.update_policy = grpo.update_policy = update


def resumed_differently(folder: Path, *, tokens: int, per_step: int) -> dict[str, tuple[float, float]]:
    """Metrics of the third step that differ between a run without a break and one resumed from its second step, with both
    values.
    """
    steps: list[dict[str, float]] = []
    for name, stops in (("straight", [3]), ("broken", [2, 3])):
        recipe = build_recipe(
            folder, "grpo-bfloat16", tokens=tokens, per_step=per_step, steps=3, checkpoint_every=2
        ).changed("run.name", name)
        for place, last in enumerate(stops):
            train_until(recipe, last, resume=place > 0)
            free_memory()
        with RunDirectory.read(recipe.run_path) as run:
            third = {name: dict(points).get(3) for name, points in run.database.metrics().items()}
            steps.append({name: it for name, it in third.items() if it is not None and not name.startswith("seconds")})
    straight, broken = steps
    assert straight.keys() == broken.keys(), "both steps have the same metrics"
    return {it: (straight[it], broken[it]) for it in straight if not same(straight[it], broken[it])}


def same(one: float, other: float) -> bool:
    """Whether two metrics are equal, or both are no number."""
    return one == other or (one != one and other != other)


def free_memory() -> None:
    """Give back what the last run held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def describe(differing: dict[str, tuple[float, float]] | None) -> str:
    """The result of resuming in words."""
    if differing is None:
        return "not checked"
    if not differing:
        return "all metrics equal those of a run without a break"
    worst = max(differing, key=lambda it: abs(differing[it][0] - differing[it][1]))
    return f"{len(differing)} metrics differ, most {worst} ({differing[worst][0]:.6g} and {differing[worst][1]:.6g})"


def print_checked(checked: dict[str, Checked]) -> None:
    """The table."""
    columns = [
        "",
        "written tokens/s",
        "updated tokens/s",
        "planned GiB",
        "peak GiB",
        "ratio",
        "mean",
        "largest difference",
    ]
    rows: list[list[str]] = []
    for title, it in checked.items():
        if it.measured is None:
            rows.append([title, it.error or "", *[""] * 6])
            continue
        planned, peak, written, updated = it.measured
        rows.append(
            [
                title,
                "" if written is None else f"{written:.0f}",
                f"{updated:.0f}",
                f"{planned / GIB:.2f}",
                f"{peak / GIB:.2f}",
                f"{peak / planned:.2f}",
                "" if it.mean_difference is None else f"{it.mean_difference:.2g}",
                "" if it.largest_difference is None else f"{it.largest_difference:.2g}",
            ]
        )
    print_table("two steps each, bfloat16", columns, rows)


def plain(measured: Measured | None) -> dict[str, Any] | None:
    """For JSON."""
    return None if measured is None else measured._asdict()


if __name__ == "__main__":
    main()
