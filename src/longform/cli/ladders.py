"""`longform ladders check LADDERS`."""

from pathlib import Path
from typing import Any

from cyclopts import App

from longform.cli.flags import CostLimit, Flag, Margin, PositiveInt, Seed, TableFormat
from longform.cli.output import command_line, console, print_result, print_tables, progress

ladders = App(name="ladders", help="Check with a judge whether the rungs of ladders are in the right order.")


@ladders.command
def check(
    path: Path,
    *,
    judge: str,
    out: Path,
    models: Path = Path("models.yaml"),
    template: Path | None = None,
    policy: str | None = None,
    gap: Margin = 2.0,
    sample: PositiveInt | None = None,
    reorder: Path | None = None,
    budget: CostLimit | None = None,
    dry_run: Flag = False,
    resamples: PositiveInt = 1000,
    seed: Seed = 0,
    format: TableFormat = "text",
    json: Flag = False,
) -> None:
    """Have the pairwise judge compare each rung with the next one, in both orders, before a run trains on the ladders.

    Reported by position: how often the upper rung wins, how often the lower one does (an inversion), ties, and missing
    verdicts by cause; and, with --policy, which rungs are free, because the policy's own response beats them. Intervals
    resample prompts. The price is printed before the first call; running the command again requests only missing verdicts.

    Args:
        path: Ladders file, from `longform select` or of the released Writing-RL code.
        judge: A name in models.yaml, usually the one of the pairwise reward.
        out: Games file to write: one row per verdict, for `longform arena`. Calls are recorded next to it.
        models: Path to models.yaml (endpoint definitions).
        template: The judge's own wording (see models.yaml), in place of the one in models.yaml.
        policy: Model name of the policy's own responses in the ladders (policy_name of the recipe).
        gap: The top rung is unreachable if it wins and its grade is at least this far above the rung below.
        sample: Check only this many ladders, drawn at random.
        reorder: Also write the ladders to this file, each in ascending order of Bradley-Terry strength by these verdicts.
            Ties are ordered by score, then the policy's own response first, then by model name.
        budget: Stop before the calls cost more than this.
        dry_run: Print the price and exit.
        resamples: Number of bootstrap samples.
        seed: Random seed of the sample and of the intervals.
        format: Output format. With Markdown and LaTeX tables, everything else goes to stderr.
        json: Same as --format json.
    """
    from longform.evaluation.ladders.run import check_ladders
    from longform.evaluation.ladders.tables import check_tables
    from longform.evaluation.tables import plain

    result = check_ladders(
        path,
        judge=judge,
        out=out,
        models=models,
        template=template,
        policy=policy,
        gap=gap,
        sample=sample,
        reorder_to=reorder,
        budget=budget,
        dry_run=dry_run,
        resamples=resamples,
        seed=seed,
        progress=progress,
        on_plan=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    form = "json" if json else format
    checked = result.check
    if checked is None:
        price: dict[str, Any] = {"questions": result.price.questions, "prompt tokens": result.price.prompt_tokens}
        price["cost"] = "unknown" if result.price.cost is None else round(result.price.cost, 4)
        print_result(plain(result.price) if form == "json" else price, as_json=form == "json")
        return
    paid: dict[str, Any] = {"cost": result.cost, "path": str(out)}
    if reorder is not None:
        paid["reordered to"] = str(reorder)
    if form == "json":
        print_result(plain(checked) | paid, as_json=True)
        return
    print_tables(check_tables(checked), form)
    print()
    counts: dict[str, Any] = {"ladders": checked.ladders, "pairs": checked.pairs, "verdicts": checked.verdicts}
    counts["no verdict"] = dict(checked.no_verdict) or 0
    if checked.reordered is not None:
        counts["in a new order"] = f"{checked.reordered} ladders" + (
            f"; {checked.unrated} kept their order, because verdicts are missing" if checked.unrated else ""
        )
    inverted = checked.positions[0].inverted
    next_command = command_line("train", "RECIPE", "--set", f"data.ladders={reorder or path}")
    if reorder is None and inverted is not None and inverted.value.estimate > 0:
        given = {"--template": template, "--policy": policy, "--sample": sample, "--seed": seed or None}
        given["--models"] = None if models == Path("models.yaml") else models
        flags = [word for name, value in given.items() if value is not None for word in (name, value)]
        again = ("ladders", "check", path, "--judge", judge, "--out", out, *flags)
        next_command = command_line(*again, "--reorder", "reordered.jsonl", note="uses the recorded verdicts")
    print_result(counts | paid, as_json=False, next_command=next_command, aside=form != "text")
