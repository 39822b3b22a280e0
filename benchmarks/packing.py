"""What packing saves in an update on this machine: the same rows padded and packed, alternately.

    python benchmarks/packing.py

A random model of SmolLM2-135M's shape, one thread, float32; prompts of 24 tokens and responses whose lengths are log-normal
between 16 and 512. Prints processor seconds of all forward and backward passes of one update.
"""

import argparse
import time

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longform.rl.losses import token_weights
from longform.training.forward import response_statistics
from longform.training.rollouts import pad_batch
from longform.training.update import mini_batches
from longform.writers.decoding import Completion

PROMPT = 24


def build_model() -> LlamaForCausalLM:
    """Random weights."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=2048, help="of a micro-batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, draw = build_model(), np.random.default_rng(0)
    lengths = np.clip(np.exp(draw.normal(4.2, 1.0, options.rows)), 16, 512).astype(int)
    prompts = [draw.integers(0, 49152, PROMPT).tolist() for _ in lengths]
    written = [
        Completion(torch.from_numpy(draw.integers(0, 49152, length)), torch.zeros(int(length)), "stop")
        for length in lengths
    ]
    seconds: dict[bool, list[float]] = {False: [], True: []}
    read: dict[bool, int] = {}
    for _ in range(options.rounds):
        for packed in (False, True):
            scores = [0.0] * len(prompts)
            batch = pad_batch(prompts, written, reference_scores=scores, device=torch.device("cpu"), packed=packed)
            (pieces,) = mini_batches(
                batch,
                torch.arange(len(prompts)),
                size=len(prompts),
                epochs=1,
                shuffle=np.random.default_rng(0),
                weigh=token_weights,
                max_tokens=options.max_tokens,
            )
            read[packed] = sum(int(it.batch.lengths.sum()) if packed else int(it.batch.tokens.numel()) for it in pieces)
            start = time.process_time()
            for micro in pieces:
                log_probs, _ = response_statistics(model, micro.batch, temperature=1.0)
                (log_probs * micro.weights_bt).sum().backward()
            seconds[packed].append(time.process_time() - start)
            model.zero_grad()
    for packed, name in ((False, "padded"), (True, "packed")):
        print(f"{name}: {read[packed]:,} tokens, {min(seconds[packed]):.2f} s (of {len(seconds[packed])}, the least)")
    print(f"packed / padded: {min(seconds[True]) / min(seconds[False]):.2f}")


if __name__ == "__main__":
    main()
