"""`longform generate PROMPTS`."""

import asyncio
from pathlib import Path
from typing import Literal

from longform.cli.calls import RecordedCalls, check_gathered
from longform.cli.flags import Budget, Count, Flag, Seed, Temperature
from longform.cli.output import print_result, progress


def generate(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    samples: Count = 1,
    models: Path = Path("models.yaml"),
    name: str | None = None,
    max_tokens: Count = 10_000,
    temperature: Temperature = 1.0,
    think: Literal["off", "on", "direct"] = "off",
    think_prompt: Path | None = None,
    batch: Count = 64,
    seed: Seed = 0,
    budget: Budget | None = None,
    json: Flag = False,
) -> None:
    """Write responses to prompts. Started again, it adds what is missing in OUT.

    Args:
        prompts: Prompts file.
        writer: A name of models.yaml, or the folder of a local model.
        out: Responses file to write or to add to.
        samples: Responses to each prompt.
        models: What the names of models mean.
        name: The model name that the responses of a local model carry (default: its folder's name, or RUN-step-N).
        max_tokens: Longest response.
        temperature: Of the writer.
        think: Ask for a plan and an answer in tags (on), or for an answer in tags (direct). The answer becomes the text.
        think_prompt: Text file with {request} in it, in place of the built-in prompt that asks for this.
        batch: Responses that a local model writes side by side.
        seed: Of a local model's draws.
        budget: Stop before the calls cost more than this.
        json: Print the result as JSON.
    """
    from longform.records.errors import BadInputError
    from longform.records.files import read_rows
    from longform.records.schemas import Prompt
    from longform.selection.generate import Gathered
    from longform.selection.generate import generate as gather
    from longform.writers.paths import check_writer, is_model_folder, writer_name
    from longform.writers.settings import GenerationSettings
    from longform.writers.think import ThinkPrompt

    check_writer(writer)
    if think_prompt and think == "off":
        raise BadInputError(f"--think-prompt {think_prompt}: has no use without --think on or --think direct")
    asking = ThinkPrompt.read(think, think_prompt)
    rows = list(read_rows(prompts, Prompt))
    if is_model_folder(writer):
        from longform.selection.generate import generate_locally
        from longform.writers.local import LocalWriter

        local = LocalWriter(writer)
        settings = GenerationSettings(
            max_tokens=max_tokens, temperature=temperature, batch=batch, think=think, think_prompt=think_prompt
        )
        with progress(f"writing with {writer}") as advance:
            result = generate_locally(
                rows,
                local,
                name=name or writer_name(writer),
                samples=samples,
                settings=settings,
                seed=seed,
                out=out,
                on_progress=advance,
            )
        cost = "0 (local)"
    else:
        with RecordedCalls(out, models, writer, budget=budget) as calls, progress(f"writing with {writer}") as advance:

            async def ask() -> Gathered:
                from longform.writers.endpoint import EndpointWriter

                async with calls.endpoint() as endpoint:
                    source = EndpointWriter(
                        endpoint, max_tokens=max_tokens, temperature=temperature, think_prompt=asking
                    )
                    return await gather(rows, source, samples=samples, out=out, on_progress=advance)

            result = asyncio.run(ask())
            cost = calls.cost()
        check_gathered(result)
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
