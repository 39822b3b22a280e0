"""A small reward model trained from scratch on people's scores of Chinese texts, held against prompts that it has not seen.

    python benchmarks/human_preferences.py --data ../shared/data --out runs/human [--folds 3]

Each fold of the prompts is examined by a model that learned from the others: a tokenizer and a Llama of about 1 M weights,
made from those others' texts alone. Printed beside its accuracy: that of the rule that the longer text wins, chance, and the
learning curve (by steps, and by the share of the prompts learned from).
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.cli.output import print_table, progress
from longform.evaluation.reward_model import examine
from longform.records.files import write_rows
from longform.records.schemas import Grade, Preference, Prompt, PromptRow, Response
from longform.rewards.writing_model import WritingModel
from longform.selection.preferences import prefer_by_score
from longform.training.supervised.reward_model import RewardModelReport, RewardModelSettings, train_reward_model

SETTINGS = RewardModelSettings(
    steps=80, batch_size=8, max_tokens=768, lr=1e-3, weight_decay=0.1, warmup_steps=10, evaluate_every=20
)
SHARES = (0.25, 0.5, 1.0)


def main() -> None:
    """Train and examine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=SETTINGS.steps)
    options = parser.parse_args()
    pairs = read_pairs(options.data, options.out)
    settings = SETTINGS.model_copy(update={"steps": options.steps})
    for share in SHARES:
        trained = [train_fold(pairs, fold, share, settings, options) for fold in range(options.folds)]
        show(pairs, share, trained, options.folds)


def read_pairs(data: Path, out: Path) -> Sequence[Preference]:
    """Pairs of responses to one prompt whose mean scores differ."""
    out.mkdir(parents=True, exist_ok=True)
    prompts, responses, scores = (
        _rows(data / f"wpb_zh_{name}.jsonl") for name in ("prompts", "responses", "human_scores")
    )
    written = {(it["prompt_id"], it["model"]) for it in responses}
    write_rows(out / "prompts.jsonl", [Prompt(id=it["prompt_id"], prompt=it["prompt"].strip()) for it in prompts])
    write_rows(
        out / "responses.jsonl",
        [Response(prompt_id=it["prompt_id"], model=it["model"], text=it["response"]) for it in responses],
    )
    graded = [it for it in scores if (it["prompt_id"], it["model"]) in written and it["human_scores"]]
    write_rows(
        out / "grades.jsonl",
        [
            Grade(
                prompt_id=it["prompt_id"], model=it["model"], score=float(np.mean(it["human_scores"])), judge="people"
            )
            for it in graded
        ],
    )
    return prefer_by_score(
        out / "prompts.jsonl", responses=[out / "responses.jsonl"], grades=[out / "grades.jsonl"]
    ).rows


def train_fold(
    pairs: Sequence[Preference], fold: int, share: float, settings: RewardModelSettings, options: argparse.Namespace
) -> tuple[WritingModel, RewardModelReport, float]:
    """The model that has not seen the prompts of `fold`, learned from a share of the others; its report, and seconds."""
    held_out = [it for it in pairs if _place(it, options.folds) == fold]
    learned = [it for it in pairs if _place(it, options.folds) != fold and _part(it) < share]
    folder = options.out / f"fold-{fold}-{share}"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    write_base(folder / "base", [text for it in learned for text in (it.chosen, it.rejected)])
    (folder / "model").mkdir()
    with progress(f"fold {fold + 1} of {options.folds}, {share:.0%} of its prompts") as advance:
        report = train_reward_model(
            str(folder / "base"),
            learned,
            held_out,
            settings,
            lora=None,
            out=folder / "model",
            on_progress=lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}"),
        )
    return WritingModel(str(folder / "model")), report, time.perf_counter() - began


def write_base(folder: Path, texts: Sequence[str]) -> None:
    """A tokenizer learned from the texts, and a model of random weights."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        set(texts),
        trainers.BpeTrainer(
            vocab_size=4000,
            special_tokens=["<pad>", "<end>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def show(
    pairs: Sequence[Preference], share: float, trained: list[tuple[WritingModel, RewardModelReport, float]], folds: int
) -> None:
    """All folds together: each pair judged by the model that has not seen its prompt."""
    model_of = {PromptRow(id="-", prompt=it.prompt).request: trained[_place(it, folds)][0] for it in pairs}

    def score(texts: Sequence[tuple[PromptRow, str]]) -> list[float]:
        return [model_of[prompt.request].scores([(prompt, text)])[0] for prompt, text in texts]

    spread = float(np.mean([model.scale.spread for model, _, _ in trained]))
    found = examine(score, pairs, spread=spread)
    seconds = ", ".join(f"{it:.0f}" for _, _, it in trained)
    equal = found.equal_length_accuracy
    rows = [
        ("this model", found.accuracy),
        (f"this model, equal lengths ({found.equal_length_pairs} pairs)", equal),
        ("the longer text wins", found.longer_wins),
        ("correlation of score and length", found.length_correlation),
    ]
    print_table(
        f"{share:.0%} of the prompts: {found.pairs} pairs of {found.prompts} prompts; chance is .5; {seconds} s",
        ["", "right", "95% interval"],
        [[name, f"{it.estimate:.3f}", f"{it.low:.3f} to {it.high:.3f}"] for name, it in rows if it is not None],
    )
    steps = [point.step for point in trained[0][1].curve]
    curve = [np.mean([report.curve[place].accuracy for _, report, _ in trained]) for place in range(len(steps))]
    print_table("by steps, mean of the folds", [str(step) for step in steps], [[f"{it:.3f}" for it in curve]])
    words = ", ".join(f"{it.word} {it.shift.estimate:.2f}" for it in found.keywords[:8]) or "none"
    print(f"calibration error {found.calibration_error:.3f}; words that alone raise the score: {words}\n", flush=True)


def _place(it: Preference, folds: int) -> int:
    return _number(it, "fold") % folds


def _part(it: Preference) -> float:
    return _number(it, "part") / 2**32


def _number(it: Preference, purpose: str) -> int:
    return int(hashlib.sha256(f"{purpose}/{it.prompt}".encode()).hexdigest()[:8], 16)


def _rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    main()
