"""`longform preferences scores|verdicts|dropping`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from longform.cli.flags import Budget, Count, Flag, Seed, Temperature
from longform.cli.output import print_result
from longform.cli.paths import check_out

if TYPE_CHECKING:
    from longform.selection.preferences import Preferences

Several = Parameter(consume_multiple=True, negative=())
Margin = Annotated[float, Parameter(validator=Number(gte=0))]

preferences = App(name="preferences", help="Make pairs of a better and a worse text, for a reward model.")


@preferences.command
def scores(
    *,
    prompts: Path,
    responses: Annotated[tuple[Path, ...], Several],
    grades: Annotated[tuple[Path, ...], Several],
    out: Path,
    margin: Margin = 0.0,
    most_per_prompt: Count | None = None,
    seed: Seed = 0,
    json: Flag = False,
) -> None:
    """Pair responses to one prompt by their scores, of people or of judges.

    Args:
        prompts: Prompts file.
        responses: One or more files with responses to them.
        grades: One or more files with scores of those responses, on any scale; a person who scored is a `judge`. A
            response's score is the mean over all who scored a response to its prompt, and it counts only if all of them did.
        out: Preferences file to write.
        margin: Scores must differ by more than this.
        most_per_prompt: Pairs to keep of each prompt, drawn at random; all without it.
        seed: Of that draw.
        json: Print the result as JSON.
    """
    from longform.selection.preferences import prefer_by_score

    check_out(out, prompts, *responses, *grades)
    made = prefer_by_score(
        prompts, responses=responses, grades=grades, margin=margin, most_per_prompt=most_per_prompt, seed=seed
    )
    _finish(made, out, source=str(prompts), as_json=json)


@preferences.command
def verdicts(run: Path, *, out: Path, json: Flag = False) -> None:
    """Pair what a run's policy wrote with the references that it was judged against.

    Args:
        run: Run directory.
        out: Preferences file to write.
        json: Print the result as JSON.
    """
    from longform.recipe.inputs import read_recorded_prompts
    from longform.recipe.loading import load_stored_recipe
    from longform.recipe.recipe import Recipe
    from longform.records.errors import BadInputError
    from longform.records.run_directory import RunDirectory
    from longform.selection.preferences import prefer_by_verdict

    with RunDirectory.read(run) as stored:
        check_out(out, stored.recipe_path, stored.database_path)
        recipe = load_stored_recipe(stored.recipe_path, Recipe)
        check_out(out, recipe.data.path)
        if not recipe.compares:
            raise BadInputError(f"{run}: none of the run's rewards compares with a reference, so it holds no verdicts")
        made = prefer_by_verdict(
            stored.database.rollouts(),
            read_recorded_prompts(stored, recipe.data),
            thinking=recipe.generation.think,
            policy=recipe.policy_name,
        )
    _finish(made, out, source=str(run), as_json=json)


@preferences.command
def dropping(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    rewriter: str | None = None,
    revise: Flag = False,
    samples: Count = 1,
    models: Path = Path("models.yaml"),
    max_tokens: Count = 10_000,
    temperature: Temperature = 1.0,
    batch: Count = 64,
    seed: Seed = 0,
    budget: Budget | None = None,
    json: Flag = False,
) -> None:
    """Pair what a writer writes for a request with what it writes when some requirements are left out. No labels needed.

    Such pairs teach to obey requirements, and nothing about style. Started again, it adds what is missing.

    Args:
        prompts: Prompts file.
        writer: A name of models.yaml, or the folder of a local model.
        out: Preferences file to write. Reduced prompts, responses and calls are kept beside it, as OUT.*.
        rewriter: A name of models.yaml: the model that leaves requirements out. Without it, some of the sentences after a
            request's first are left out at random.
        revise: Let the writer revise its text until it fits the reduced request, and not write anew: the two differ in what
            was left out, and hardly in style or by chance.
        samples: Responses to each request, and pairs of each prompt.
        models: What the names of models mean.
        max_tokens: Longest response.
        temperature: Of the writer.
        batch: Responses that a local model writes side by side.
        seed: Of what is left out at random, and of a local model's draws.
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.cli.dropping_calls import Dropping
    from longform.records.errors import BadInputError
    from longform.records.files import read_rows
    from longform.records.schemas import Prompt
    from longform.selection.dropping import prefer_full, read_reduced, record_writing
    from longform.selection.preferences import LeftOut
    from longform.writers.paths import check_writer
    from longform.writers.settings import GenerationSettings

    check_writer(writer)
    settings = GenerationSettings(max_tokens=max_tokens, temperature=temperature, batch=batch)
    asked = Dropping(writer, rewriter, models, out, revise, samples, settings, seed, budget)
    for path in (out, *asked.files):
        check_out(path, prompts, models)
    rows = list(read_rows(prompts, Prompt))
    asked.check_names()
    record_writing(asked.writing(), out=out)
    reduced, cost = asked.reduce(rows)
    pairs = read_reduced(asked.files.reduced, rows, by=asked.reduced_by)
    if not pairs:
        hint = "has a sentence after its first to leave out; name a --rewriter" if rewriter is None else "was reduced"
        raise BadInputError(f"{prompts}: no request {hint}")
    failures, cost = asked.write(pairs, cost=cost)
    made = prefer_full(pairs, asked.files, model=asked.model, samples=samples, revised=revise)
    made.left_out[LeftOut.NOT_REDUCED] += len(rows) - len(pairs)
    _finish(made, out, source=str(prompts), as_json=json, failures=reduced.failures + failures, cost=cost)


def _finish(
    made: "Preferences",
    out: Path,
    *,
    source: str,
    as_json: bool,
    failures: "Counter[str] | None" = None,
    cost: str | None = None,
) -> None:
    """Write the pairs and print what they are; failures and cost where models were asked.

    Raises:
        BadInputError: there are none; says why.
    """
    from longform.records.errors import BadInputError
    from longform.records.files import write_rows

    left_out = {str(cause): count for cause, count in made.left_out.items() if count}
    if not made.rows:
        causes = ", ".join(f"{count} {cause}" for cause, count in left_out.items()) or "nothing was judged"
        raise BadInputError(f"{source}: makes no pair; left out: {causes}")
    write_rows(out, made.rows)
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
