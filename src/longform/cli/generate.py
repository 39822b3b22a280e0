"""`longform generate PROMPTS`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from longform.cli.flags import (
    LOCAL_FLAGS,
    READ_FLAGS,
    CostLimit,
    Flag,
    LocalFlags,
    PositiveInt,
    Probability,
    ReadFlags,
    Seed,
    Temperature,
)
from longform.cli.output import command_line, describe_stale, print_result, progress


def generate(
    prompts: Path,
    *,
    writer: str,
    out: Path,
    samples: PositiveInt = 1,
    models: Path = Path("models.yaml"),
    name: str | None = None,
    max_tokens: PositiveInt | None = None,
    temperature: Temperature | None = None,
    top_p: Probability | None = None,
    think: Literal["off", "on", "direct"] = "off",
    think_prompt: Path | None = None,
    local: LocalFlags = LOCAL_FLAGS,
    seed: Seed = 0,
    budget: CostLimit | None = None,
    keep_stale: Flag = False,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Generate responses to prompts with an endpoint or a local model. Running it again adds the missing responses.

    Args:
        prompts: Prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet), a folder of such files, or a dataset id.
        writer: A name in models.yaml, or the folder of a local model.
        out: Responses file to write or append to.
        samples: Responses per prompt.
        models: Path to models.yaml (endpoint definitions).
        name: Model name to record for a local model (default: its folder's name, or RUN-step-N).
        max_tokens: Maximum response length in tokens, thoughts included (default: of models.yaml, else 10,000).
        temperature: Sampling temperature (default: of models.yaml, else 1).
        top_p: Nucleus sampling probability (default: of models.yaml, else 1).
        think: Ask for a plan and an answer in tags (on), or for an answer in tags (direct). Only the answer is kept.
        think_prompt: Text file with {request} in it, in place of the built-in think prompt.
        seed: Sampling seed of a local model.
        budget: Stop before the calls cost more than this.
        keep_stale: Keep responses whose prompt, writer or settings have changed, instead of making them anew.
        json: Print the result as JSON.
    """
    from longform.selection import generate as generation

    result = generation.generate(
        prompts,
        writer=writer,
        out=out,
        samples=samples,
        models=models,
        name=name,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        think=think,
        think_prompt=think_prompt,
        local=local.parse(),
        seed=seed,
        budget=budget,
        keep_stale=keep_stale,
        reading=reading.parse(),
        progress=progress,
    )
    print_result(
        {
            "responses": result.rows,
            "new": result.added,
            "failed": dict(result.failures) or 0,
            **describe_stale(result, kept=keep_stale),
            **{name if json else name.replace("_", " "): count for name, count in asdict(result.texts).items()},
            "cost": result.cost,
            "path": str(out),
        },
        as_json=json,
        next_command=command_line(
            "grade", out, "--prompts", prompts, *reading.again(), "--judge", "JUDGE", "--out", "GRADES"
        ),
    )
