"""`longform estimate RECIPE`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from longform.cli.flags import Flag, PositiveInt, Seconds, SetValues
from longform.cli.output import command_line, print_result, print_tables, printable
from longform.planning.assumptions import GpuName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longform.planning.assumptions import Assumptions
    from longform.planning.cluster import ClusterPlan
    from longform.planning.estimate import Estimate
    from longform.planning.judge_load import JudgeLoad
    from longform.recipe.recipe import Recipe

PositiveShare = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]
Amount = Annotated[float, Parameter(validator=Number(gt=0))]


def estimate(
    recipe: Path,
    *,
    set_: SetValues = (),
    tokens_per_prompt: PositiveInt | None = None,
    tokens_per_response: PositiveInt | None = None,
    longest_response: PositiveInt | None = None,
    validation_prompts: PositiveInt | None = None,
    plan_tokens: PositiveInt = 2500,
    answer_tokens: PositiveInt = 250,
    judge_latency: Seconds = 10.0,
    gpu: GpuName = "h100",
    utilisation: PositiveShare = 0.35,
    bandwidth: PositiveShare = 0.5,
    parameters: Amount | None = None,
    price_per_gpu_hour: Amount | None = None,
    json: Flag = False,
) -> None:
    """Estimate the tokens, judge calls, cost and hours of a run, or of a whole study, and list the assumptions.

    Text lengths come from the recipe's files, prices and limits from its models.yaml; anything missing is assumed, and the
    assumption is printed. No model is loaded and no call is made. Hours are a lower bound: they assume that the GPUs reach
    the given utilisation throughout.

    Args:
        recipe: Path to the recipe (YAML), or to a study file.
        set_: Override a recipe value: KEY=VALUE. May be repeated.
        tokens_per_prompt: Mean prompt length in tokens (default: measured on the prompts file).
        tokens_per_response: Mean response length in tokens, thoughts included (default: from the prompts' length ranges or
            references).
        longest_response: Longest response of a step in tokens (default: the recipe's max_tokens).
        validation_prompts: Number of validation prompts (default: counted in their file).
        plan_tokens: Mean length of the thoughts in tokens, if the recipe asks the writer to think.
        answer_tokens: Mean length of a judge's answer in tokens.
        judge_latency: Mean latency of a judge call in seconds.
        gpu: GPU type.
        utilisation: Model FLOPs utilisation of the updates, 0 to 1.
        bandwidth: Memory bandwidth utilisation of generation, 0 to 1.
        parameters: Number of parameters of the policy, such as 7.6e9 (default: from its config.json, else its name).
        price_per_gpu_hour: Price of one GPU-hour; adds the GPU cost to the result.
        json: Print the result as JSON.
    """
    from longform.planning.assumptions import Assumptions
    from longform.planning.estimate import estimate_run
    from longform.recipe.loading import load_recipe
    from longform.recipe.recipe import Recipe
    from longform.studies.settings import is_study

    given = Assumptions(
        tokens_per_prompt=tokens_per_prompt,
        tokens_per_response=tokens_per_response,
        longest_response=longest_response,
        validation_prompts=validation_prompts,
        plan_tokens=plan_tokens,
        answer_tokens=answer_tokens,
        judge_latency=judge_latency,
        gpu=gpu,
        utilisation=utilisation,
        bandwidth_share=bandwidth,
        parameters=parameters,
        price_per_gpu_hour=price_per_gpu_hour,
    )
    if is_study(recipe):
        _estimate_study(recipe, given, overrides=set_, as_json=json)
        return
    resolved = load_recipe(recipe, Recipe, set_)
    result = estimate_run(resolved, given)
    plan = _plan(resolved, result)
    if json:
        print_result(_figures(result) | {"memory": plan.lines() if plan else None}, as_json=True)
        return
    overrides = [word for it in set_ for word in ("--set", it)]
    print_result(_lines(result), as_json=False, next_command=command_line("train", recipe, *overrides, "--dry-run"))
    for title, lines in (("memory and disk, in GiB", plan.lines() if plan else []), ("assumptions", result.notes)):
        if lines:
            print("\n".join(["", title, *(f"- {printable(line)}" for line in lines)]))


def _estimate_study(source: Path, given: "Assumptions", *, overrides: "Sequence[str]", as_json: bool) -> None:
    """Estimate a study, whose files need not be there yet."""
    from longform.records.errors import BadInputError
    from longform.studies.estimate import estimate_study
    from longform.studies.plan import plan_study
    from longform.studies.settings import load_study

    if overrides:
        raise BadInputError("--set: only valid for a recipe; change the study file instead")
    study = load_study(source)
    found = estimate_study(plan_study(study, Path("runs") / study.study, source=source, needs_files=False), given)
    unpriced = f" and unknown for {', '.join(found.unpriced)}" if found.unpriced else ""
    result: dict[str, Any] = {"cost of calls": f"{found.cost:,.2f}{unpriced}", "GPU-hours": f"{found.gpu_hours:,.0f}"}
    if found.gpu_cost is not None:
        result["cost of GPUs"] = f"{found.gpu_cost:,.0f}"
    if as_json:
        kinds = {kind: asdict(it) for kind, it in found.kinds.items()}
        figures = {
            "cost": found.cost,
            "unpriced": found.unpriced,
            "gpu_hours": found.gpu_hours,
            "gpu_cost": found.gpu_cost,
        }
        print_result({"tasks": kinds, **figures, "assumptions": found.notes}, as_json=True)
        return
    print_tables([found.table])
    print()
    print_result(result, as_json=False, next_command=command_line("study", "run", source, "--dry-run"))
    print("\n".join(["", "assumptions", *(f"- {printable(line)}" for line in found.notes)]))


def _plan(recipe: "Recipe", result: "Estimate") -> "ClusterPlan | None":
    """Plan the memory of a cluster run if the policy's config.json is available; `train --dry-run` plans a local run."""
    if recipe.engine == "local" or result.policy.shape is None:
        return None
    from longform.planning.cluster import plan_cluster

    return plan_cluster(result.policy.shape, recipe)


def _lines(result: "Estimate") -> dict[str, str]:
    step = result.step
    visits = (
        "" if result.visits is None else f", {result.visits:.1f} visits to each of {result.lengths.prompts:,} prompts"
    )
    lines = {
        "policy": f"{result.policy.parameters / 1e9:.2f} billion parameters",
        "rollouts": f"{result.rollouts:,}{visits}",
        "tokens generated": f"{_short(result.written)}, {result.lengths.response:,.0f} per response",
        "tokens trained on": _short(result.trained),
        **{f"{'judge' if it.role == 'reward' else it.role} {it.name}": _load_line(it) for it in result.judges},
        "cost of judges": _cost_line(result),
        "one step": f"{step.total:.0f} s: generation {step.writing:.0f}, waiting for judges {step.judging:.0f}, "
        f"update {step.updating:.0f}",
        "bottleneck": step.bottleneck,
        "hours": f"{result.hours:.1f}, {result.gpu_hours:,.0f} GPU-hours",
    }
    return lines if result.gpu_cost is None else lines | {"cost of GPUs": f"{result.gpu_cost:,.0f}"}


def _load_line(load: "JudgeLoad") -> str:
    period = "step" if load.role == "reward" else "validation"
    limit = "" if load.bound == "latency" else f"; limited by its {load.bound}: {load.seconds:.0f} s per {period}"
    return (
        f"{load.calls:,.0f} calls, {_short(load.prompt_tokens)} prompt tokens, "
        f"{_short(load.completion_tokens)} completion tokens{limit}"
    )


def _cost_line(result: "Estimate") -> str:
    unknown = f"unknown for {', '.join(result.unpriced)}" if result.unpriced else ""
    if len(result.unpriced) == len(result.judges):
        return unknown or "0"
    return f"{result.cost:,.2f}{' and ' if unknown else ''}{unknown}"


def _figures(result: "Estimate") -> dict[str, Any]:
    return {
        "parameters": result.policy.parameters,
        "rollouts": result.rollouts,
        "visits": result.visits,
        "tokens_per_prompt": result.lengths.prompt,
        "tokens_per_response": result.lengths.response,
        "tokens_written": result.written,
        "tokens_trained_on": result.trained,
        "judges": [asdict(it) for it in result.judges],
        "cost": result.cost,
        "cost_unknown_for": result.unpriced,
        "step_seconds": {
            "writing": result.step.writing,
            "judging": result.step.judging,
            "updating": result.step.updating,
            "total": result.step.total,
        },
        "bottleneck": result.step.bottleneck,
        "hours": result.hours,
        "gpu_hours": result.gpu_hours,
        "gpu_cost": result.gpu_cost,
        "assumed": list(result.notes),
    }


def _short(number: float) -> str:
    """Format a number; from a million on, in millions."""
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"
