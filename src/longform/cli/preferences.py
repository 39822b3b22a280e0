"""`longform preferences scores|verdicts|dropping`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from longform.cli.flags import (
    LOCAL_FLAGS,
    READ_FLAGS,
    CostLimit,
    Flag,
    LocalFlags,
    Margin,
    PathList,
    PositiveInt,
    ReadFlags,
    Seed,
    Temperature,
)
from longform.cli.output import print_result, progress

if TYPE_CHECKING:
    from longform.selection.preferences import Preferences

preferences = App(name="preferences", help="Build preference pairs (chosen and rejected) for a reward model.")


@preferences.command
def scores(
    *,
    prompts: Path,
    responses: PathList,
    grades: PathList,
    out: Path,
    margin: Margin = 0.0,
    max_per_prompt: PositiveInt | None = None,
    seed: Seed = 0,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Pair responses to the same prompt by their scores from people or judges.

    Args:
        prompts: Prompts file.
        responses: One or more responses files.
        grades: One or more grades files, on any scale; the `judge` field may name a person. A response's score is the mean
            over the raters of its prompt; responses that some of these raters did not score are left out.
        out: Preferences file to write.
        margin: Minimum score difference; pairs must differ by more than this.
        max_per_prompt: Maximum number of pairs per prompt, chosen at random (default: all).
        seed: Random seed of that choice.
        json: Print the result as JSON.
    """
    from longform.selection.preferences import preferences_from_scores

    made = preferences_from_scores(
        prompts,
        responses=responses,
        grades=grades,
        out=out,
        margin=margin,
        max_per_prompt=max_per_prompt,
        seed=seed,
        reading=reading.parse(),
    )
    _print(made, out, as_json=json)


@preferences.command
def verdicts(run: Path, *, out: Path, json: Flag = False) -> None:
    """Pair a run's responses with the references they were judged against.

    Args:
        run: Run directory.
        out: Preferences file to write.
        json: Print the result as JSON.
    """
    from longform.recipe.verdict_preferences import preferences_from_verdicts

    _print(preferences_from_verdicts(run, out=out), out, as_json=json)


@preferences.command
def dropping(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    rewriter: str | None = None,
    revise: Flag = False,
    samples: PositiveInt = 1,
    models: Path = Path("models.yaml"),
    max_tokens: PositiveInt = 10_000,
    temperature: Temperature = 1.0,
    local: LocalFlags = LOCAL_FLAGS,
    seed: Seed = 0,
    budget: CostLimit | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Pair a writer's response to a request with its response to the request minus some requirements. Needs no labels.

    Such pairs teach instruction following rather than style. Running the command again adds what is missing.

    Args:
        prompts: Prompts file.
        writer: A name in models.yaml, or the folder of a local model.
        out: Preferences file to write. Reduced prompts, responses and calls are kept next to it as OUT.*.
        rewriter: A name in models.yaml: the model that removes requirements (default: remove random sentences after the
            first one of each request).
        revise: Have the writer revise its text for the reduced request rather than write a new one. The two texts then
            differ in the removed requirements and little else.
        samples: Responses per request, and pairs per prompt.
        models: Path to models.yaml (endpoint definitions).
        max_tokens: Maximum response length in tokens.
        temperature: Sampling temperature.
        seed: Random seed of the reduction and of a local model's sampling.
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.selection.dropping_run import preferences_from_dropping

    made = preferences_from_dropping(
        prompts,
        writer=writer,
        out=out,
        rewriter=rewriter,
        revise=revise,
        samples=samples,
        models=models,
        max_tokens=max_tokens,
        temperature=temperature,
        local=local.parse(),
        seed=seed,
        budget=budget,
        reading=reading.parse(),
        progress=progress,
    )
    _print(made.preferences, out, as_json=json, failures=made.failures, cost=made.cost)


def _print(
    made: "Preferences",
    out: Path,
    *,
    as_json: bool,
    failures: "Counter[str] | None" = None,
    cost: str | None = None,
) -> None:
    """Print the number of pairs and their length bias; failures and cost if models were called."""
    from longform.endpoints.errors import describe_causes

    left_out = {str(cause): count for cause, count in made.left_out.items() if count}
    bias = made.length_bias()
    share = None if bias.share is None else round(bias.share, 3)
    result: dict[str, Any] = {"pairs": len(made.rows), "prompts": made.num_prompts}
    if as_json:
        result |= {"left_out": left_out, "longer_chosen": share, "unequal_length": bias.unequal}
    else:
        result |= left_out
        result["longer is chosen"] = f"{share} of {bias.unequal} pairs of unequal length" if bias.unequal else "-"
    if failures is not None:
        shown = describe_causes(failures) or "0"
        result |= {"failures": dict(failures) if as_json else shown, "cost": cost}
    print_result({**result, "path": str(out)}, as_json=as_json, next_command="longform reward-model RECIPE")
