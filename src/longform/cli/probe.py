"""`longform probe NAME`."""

from pathlib import Path

from longform.cli.flags import CostLimit, Flag
from longform.cli.output import command_line, console, print_result, printable


def probe(
    name: str, *, models: Path = Path("models.yaml"), budget: CostLimit | None = None, json: Flag = False
) -> None:
    """Ask a model one small question of each kind, and report what its endpoint supports.

    The questions are a chat, a pairwise and a pointwise judgement, and a long answer. After a refusal, other settings
    are tried. The answers are recorded in probe-NAME.calls.sqlite; running the command again makes no new calls.

    Args:
        name: A name in models.yaml.
        models: Path to models.yaml (endpoint definitions).
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.endpoints.models import find_model, read_models
    from longform.judging import probe as probing

    price = probing.greatest_price(find_model(read_models(models), name, path=models))
    shown = "unknown (no `prices` in models.yaml)" if price is None else f"at most {price:.4f}"
    console.print(f"cost: {shown}", markup=False)
    report = probing.probe(name, models=models, budget=budget)
    answers = {it.kind: {"usable": it.is_usable, "answer": it.text} for it in report.results}
    if json:
        print_result({"name": name, "usable": report.is_usable, "questions": answers} | report.facts, as_json=True)
        return
    lines = {it.kind: f"{'ok' if it.is_usable else 'FAILED'}: {printable(it.text)}" for it in report.results}
    print_result(
        lines | report.facts | {"cost": report.cost, "path": f"{probing.probe_log(name, models)}.calls.sqlite"},
        as_json=False,
        next_command=command_line("calls", probing.probe_log(name, models), "--show"),
    )
