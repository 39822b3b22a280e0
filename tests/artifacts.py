"""What tests of several packages save and compare: a policy's folder, the verdicts of a run."""

import json

from longform.records.database import RunDatabase, text_hash


def save_policy(model, tokenizer, folder):
    """Write model and tokenizer as a folder that transformers loads."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def verdict_export(database: RunDatabase) -> str:
    """The canonical record of verdicts, one JSON line per rollout, without times, costs and attempts.

    Two runs of one recipe and seed on one machine export the same bytes, whether they were interrupted or not.
    """
    records = (
        {
            "step": it.step,
            "row": it.row,
            "prompt_id": it.prompt_id,
            "rung": it.rung,
            "text_hash": text_hash(it.text),
            "reference_hash": text_hash(it.reference),
            "outcome": it.outcome,
            "cause": it.cause,
            "reward": it.reward,
        }
        for it in database.rollouts()
    )
    return "".join(json.dumps(record) + "\n" for record in records)
