"""`longform estimate RECIPE`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from longform.cli.flags import Flag, PositiveInt, Seconds, SetValues
from longform.cli.output import print_result, printable
from longform.planning.assumptions import GpuName

if TYPE_CHECKING:
    from longform.planning.cluster import ClusterPlan
    from longform.planning.estimate import Estimate
    from longform.planning.judge_load import JudgeLoad
    from longform.recipe.recipe import Recipe

Share = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]
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
    utilisation: Share = 0.35,
    bandwidth: Share = 0.5,
    parameters: Amount | None = None,
    price_per_gpu_hour: Amount | None = None,
    json: Flag = False,
) -> None:
    """Say what a run will take: texts, tokens, judge calls, money, hours, and what was assumed to tell.

    Lengths come from the texts of the recipe's own files, prices and limits from its models.yaml; what is not there is
    assumed, and printed. Nothing is loaded, asked or paid for. Hours are those of cards at the stated shares of their peak:
    a run does not take less.

    Args:
        recipe: A YAML file.
        set_: KEY=VALUE in place of what the recipe says. May be repeated.
        tokens_per_prompt: In place of what the file of prompts says.
        tokens_per_response: With its plan. By default from the prompts' length ranges or references.
        longest_response: Tokens of the longest response of a step; by default the recipe's max_tokens.
        validation_prompts: In place of what their file says.
        plan_tokens: Of a response, before its answer, where the recipe has the writer think.
        answer_tokens: Of a judge's answer.
        judge_latency: Seconds to a judge's answer.
        gpu: Kind of card.
        utilisation: Share of a card's peak that updates reach.
        bandwidth: Share of a card's memory bandwidth that writing reaches.
        parameters: Of the policy, such as 7.6e9; by default from its config.json, else from its name.
        price_per_gpu_hour: Adds what the cards cost.
        json: Print the result as JSON.
    """
    from longform.planning.assumptions import Assumptions
    from longform.planning.estimate import estimate_run
    from longform.recipe.loading import load_recipe
    from longform.recipe.recipe import Recipe

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
    resolved = load_recipe(recipe, Recipe, set_)
    found = estimate_run(resolved, given)
    plan = _plan(resolved, found)
    if json:
        print_result(_figures(found) | {"memory": plan.lines() if plan else None}, as_json=True)
        return
    overrides = "".join(f" --set {it}" for it in set_)
    print_result(_lines(found), as_json=False, next_command=f"longform train {recipe}{overrides} --dry-run")
    for title, lines in (("memory and disk, in GiB", plan.lines() if plan else []), ("assumed", found.notes)):
        if lines:
            print("\n".join(["", title, *(f"- {printable(line)}" for line in lines)]))


def _plan(recipe: "Recipe", found: "Estimate") -> "ClusterPlan | None":
    """The memory of a cluster run, where the policy's configuration is at hand; `train --dry-run` plans a local one."""
    if recipe.engine == "local" or found.policy.shape is None:
        return None
    from longform.planning.cluster import plan_cluster

    return plan_cluster(found.policy.shape, recipe)


def _lines(found: "Estimate") -> dict[str, str]:
    step = found.step
    visits = "" if found.visits is None else f", {found.visits:.1f} visits of each of {found.lengths.prompts:,} prompts"
    lines = {
        "policy": f"{found.policy.parameters / 1e9:.2f} billion weights",
        "rollouts": f"{found.rollouts:,}{visits}",
        "tokens written": f"{_short(found.written)}, {found.lengths.response:,.0f} a response",
        "tokens trained on": _short(found.trained),
        **{f"{'judge' if it.role == 'reward' else it.role} {it.name}": _load_line(it) for it in found.judges},
        "cost of judges": _cost_line(found),
        "a step": f"{step.total:.0f} s: writing {step.writing:.0f}, waiting for judges {step.judging:.0f}, "
        f"updating {step.updating:.0f}",
        "bottleneck": step.bottleneck,
        "hours": f"{found.hours:.1f}, {found.gpu_hours:,.0f} GPU-hours",
    }
    return lines if found.gpu_cost is None else lines | {"cost of cards": f"{found.gpu_cost:,.0f}"}


def _load_line(load: "JudgeLoad") -> str:
    together = "a step" if load.role == "reward" else "a validation"
    limit = "" if load.bound == "latency" else f"; held back by its {load.bound}: {load.seconds:.0f} s {together}"
    return (
        f"{load.calls:,.0f} calls, {_short(load.prompt_tokens)} tokens read, "
        f"{_short(load.completion_tokens)} written{limit}"
    )


def _cost_line(found: "Estimate") -> str:
    unknown = f"unknown for {', '.join(found.unpriced)}" if found.unpriced else ""
    if len(found.unpriced) == len(found.judges):
        return unknown or "0"
    return f"{found.cost:,.2f}{' and ' if unknown else ''}{unknown}"


def _figures(found: "Estimate") -> dict[str, Any]:
    return {
        "parameters": found.policy.parameters,
        "rollouts": found.rollouts,
        "visits": found.visits,
        "tokens_per_prompt": found.lengths.prompt,
        "tokens_per_response": found.lengths.response,
        "tokens_written": found.written,
        "tokens_trained_on": found.trained,
        "judges": [asdict(it) for it in found.judges],
        "cost": found.cost,
        "cost_unknown_for": found.unpriced,
        "step_seconds": {
            "writing": found.step.writing,
            "judging": found.step.judging,
            "updating": found.step.updating,
            "total": found.step.total,
        },
        "bottleneck": found.step.bottleneck,
        "hours": found.hours,
        "gpu_hours": found.gpu_hours,
        "gpu_cost": found.gpu_cost,
        "assumed": list(found.notes),
    }


def _short(number: float) -> str:
    """Of a million or more, in millions."""
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"
