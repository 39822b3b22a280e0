"""`longform preferences scores|verdicts|dropping`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from longform.cli.flags import CostLimit, Flag, Margin, PathList, PositiveInt, Seed, Temperature
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
    json: Flag = False,
) -> None:
    """Pair responses to one prompt by their scores, of people or of judges.

    Args:
        prompts: Prompts file.
        responses: One or more files with responses to them.
        grades: One or more files with scores of those responses, on any scale; a person who scored is a `judge`. A
            response's score is the mean over all who scored a response to its prompt; it counts only if all of them did.
        out: Preferences file to write.
        margin: Scores must differ by more than this.
        max_per_prompt: Pairs to keep per prompt, drawn at random; default: all.
        seed: Seed of that draw.
        json: Print the result as JSON.
    """
    from longform.selection.preferences import preferences_from_scores

    made = preferences_from_scores(
        prompts, responses=responses, grades=grades, out=out, margin=margin, max_per_prompt=max_per_prompt, seed=seed
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
    batch: PositiveInt = 64,
    seed: Seed = 0,
    budget: CostLimit | None = None,
    json: Flag = False,
) -> None:
    """Pair what a writer writes for a request with what it writes when some requirements are dropped. Needs no labels.

    Such pairs teach instruction following rather than style. Run again, it adds what is missing.

    Args:
        prompts: Prompts file.
        writer: A name in models.yaml, or the folder of a local model.
        out: Preferences file to write. Reduced prompts, responses and calls are kept next to it, as OUT.*.
        rewriter: A name in models.yaml: the model that drops requirements. Default: some of the sentences after a request's
            first are left out at random.
        revise: Let the writer revise its text to fit the reduced request instead of writing anew: the two then differ in
            what was left out, and hardly in style or by chance.
        samples: Responses per request, and pairs per prompt.
        models: Path to models.yaml (endpoint definitions).
        max_tokens: Longest response.
        temperature: Sampling temperature.
        batch: Responses that a local model writes at once.
        seed: Seed of the random reduction and of a local model's draws.
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
        batch=batch,
        seed=seed,
        budget=budget,
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
    """Print what the pairs are; failures and cost where models were asked."""
    left_out = {str(cause): count for cause, count in made.left_out.items() if count}
    bias = made.length_bias()
    share = None if bias.share is None else round(bias.share, 3)
    result: dict[str, Any] = {"pairs": len(made.rows), "prompts": made.num_prompts}
    if as_json:
        result |= {"left_out": left_out, "longer_chosen": share, "unequal_length": bias.unequal}
    else:
        result |= left_out
        result["longer is chosen"] = f"{share} of {bias.unequal} pairs whose lengths differ" if bias.unequal else "-"
    if failures is not None:
        shown = ", ".join(f"{cause} {count}" for cause, count in failures.most_common()) or "0"
        result |= {"failures": dict(failures) if as_json else shown, "cost": cost}
    print_result({**result, "path": str(out)}, as_json=as_json, next_command="longform reward-model RECIPE")
