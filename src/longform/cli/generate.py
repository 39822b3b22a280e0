"""`longform generate PROMPTS`."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from longform.cli.calls import RecordedCalls
from longform.cli.output import print_result, progress


def generate(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    samples: int = 1,
    models: Path = Path("models.yaml"),
    name: str | None = None,
    max_tokens: int = 10_000,
    temperature: float = 1.0,
    seed: int = 0,
    budget: float | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write responses to prompts. Started again, it adds what is missing in OUT.

    Args:
        prompts: Prompts file.
        writer: A name of models.yaml, or the folder of a local model.
        out: Responses file to write or to add to.
        samples: Responses to each prompt.
        models: What the names of models mean.
        name: The model name that the responses of a local model carry (default: its folder's name).
        max_tokens: Longest response.
        temperature: Of the writer.
        seed: Of a local model's draws.
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.records.files import read_rows
    from longform.records.schemas import Prompt
    from longform.selection.generate import Gathered
    from longform.selection.generate import generate as gather
    from longform.writers.settings import GenerationSettings

    rows = list(read_rows(prompts, Prompt))
    if (Path(writer) / "config.json").is_file():
        from longform.selection.generate import generate_locally
        from longform.writers.local import LocalWriter

        local = LocalWriter(writer)
        settings = GenerationSettings(max_tokens=max_tokens, temperature=temperature)
        with progress(f"writing with {writer}") as advance:
            result = generate_locally(
                rows,
                local,
                name=name or Path(writer).resolve().name,
                samples=samples,
                settings=settings,
                seed=seed,
                out=out,
                on_progress=advance,
            )
        cost = "0 (local)"
    else:
        with RecordedCalls(out, models, budget=budget) as calls, progress(f"writing with {writer}") as advance:

            async def ask() -> Gathered:
                from longform.writers.endpoint import EndpointWriter

                async with calls.endpoint(writer) as endpoint:
                    source = EndpointWriter(endpoint, max_tokens=max_tokens, temperature=temperature)
                    return await gather(rows, source, samples=samples, out=out, on_progress=advance)

            result = asyncio.run(ask())
            cost = calls.cost()
    print_result(
        {
            "responses": result.rows,
            "new": result.added,
            "failed": dict(result.failures) or 0,
            "cost": cost,
            "path": str(out),
        },
        as_json=json,
        next_command=f"longform grade {out} --prompts {prompts} --judge JUDGE --out GRADES",
    )
