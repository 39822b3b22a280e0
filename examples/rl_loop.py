"""GRPO against a ladder in one file: what `longform train` does, with a policy of a few hundred weights and a toy judge.

It uses `longform.rl` (advantages and losses) and `longform.curriculum` (which reference each prompt faces) and nothing
else of longform: no recipe, no files, no endpoints. Take it as the start of a training loop of your own.

    python examples/rl_loop.py
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from longform.curriculum.schedule import Curriculum, PromptOutcome
from longform.curriculum.settings import CurriculumSettings
from longform.rl.group_advantages import group_advantages
from longform.rl.losses import clipped_policy_loss, sequence_weights

WORDS = ["<end>", "rain", "river", "stone", "lamp", "and", "the", "of"]
TOPICS = 4
"""Prompts ask for a text about one of the words 1 to 4."""
MAX_WORDS = 8
PROMPTS, PER_STEP, GROUP = 16, 8, 8
EPOCHS = 2
REWARD = {"win": 1.0, "tie": 0.5, "loss": 0.0}
LADDER = ["rain rain", "rain rain rain", "rain rain rain rain", "rain rain rain rain rain rain"]
"""References from weakest to strongest, for the topic `rain`; other topics use their own word."""


class Policy(nn.Module):
    """Logits of the next word from the topic and the previous word."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(TOPICS, len(WORDS), len(WORDS)))

    def forward(self, topics: Tensor, previous: Tensor) -> Tensor:
        """[B] topics and [B] or [B, T] previous words -> logits [..., words]."""
        return self.logits[topics if previous.dim() == 1 else topics[:, None], previous]


class Samples(NamedTuple):
    """The responses of a step. B responses, T words."""

    words: Tensor
    """[B, T]"""
    previous: Tensor
    """[B, T] the word before each; `<end>` before the first."""
    mask: Tensor
    """[B, T] 1 up to and including `<end>`."""


@torch.no_grad()
def sample(policy: Policy, topics: Tensor, generator: torch.Generator) -> Samples:
    """Let the policy write a response for each topic, [B]."""
    previous, running = torch.zeros_like(topics), torch.ones(len(topics))
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(MAX_WORDS):
        words = torch.multinomial(policy(topics, previous).softmax(-1), 1, generator=generator).squeeze(1)
        columns.append((words, previous, running))
        previous, running = words, running * (words != 0)
    words, before, mask = (torch.stack(it, dim=1) for it in zip(*columns, strict=True))
    return Samples(words, before, mask)


def read(samples: Samples, row: int) -> str:
    """The text of a response."""
    words = samples.words[row][samples.mask[row].bool()].tolist()
    return " ".join(WORDS[word] for word in words if word)


def judge(response: str, reference: str, topic: str) -> str:
    """The text that names its topic more often wins. Put a call to a language model here."""
    ours, theirs = (text.split().count(topic) for text in (response, reference))
    return "win" if ours > theirs else "tie" if ours == theirs else "loss"


def log_probs_of(policy: Policy, topics: Tensor, samples: Samples) -> Tensor:
    """[B, T] log-probability of each sampled word."""
    logits = policy(topics, samples.previous)
    return logits.log_softmax(-1).gather(-1, samples.words[..., None]).squeeze(-1)


class Step(NamedTuple):
    """What a step came to."""

    reward: float
    """Mean over all responses."""
    promotions: int
    rung: float
    """Mean over all prompts, after the promotions."""


def train(*, seed: int = 0, steps: int = 40, lr: float = 0.1) -> list[Step]:
    """Train a policy with GRPO against the ladder of each prompt."""
    generator = torch.Generator().manual_seed(seed)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
    topic_of = [1 + prompt % TOPICS for prompt in range(PROMPTS)]
    settings = CurriculumSettings(mode="dynamic", wins=0.5)  # half of a group has to win
    curriculum = Curriculum([len(LADDER)] * PROMPTS, [0] * PROMPTS, settings, seed=seed, steps=steps)
    history: list[Step] = []
    for step in range(1, steps + 1):
        # 1. Draw prompts, each with the rung that its whole group faces, and let the policy write.
        draws = curriculum.draw(step, PER_STEP)
        topics = torch.tensor([topic_of[draw.prompt_index] - 1 for draw in draws]).repeat_interleave(GROUP)
        samples = sample(policy, topics, generator)

        # 2. Compare each response with its reference.
        outcomes: list[list[str]] = []
        for number, draw in enumerate(draws):
            topic = WORDS[topic_of[draw.prompt_index]]
            reference = LADDER[draw.rung].replace("rain", topic)
            rows = range(number * GROUP, (number + 1) * GROUP)
            outcomes.append([judge(read(samples, row), reference, topic) for row in rows])
        rewards = np.array([[REWARD[outcome] for outcome in group] for group in outcomes])  # [P, G]

        # 3. Advantages within groups. A rollout without a verdict would be False in the mask.
        judged = np.ones_like(rewards, dtype=bool)
        groups = group_advantages(rewards[:, :, None], judged, weights=[1.0], how="balanced")
        advantages = torch.tensor(groups.advantages, dtype=torch.float32).reshape(-1, 1).expand_as(samples.mask)
        mask = samples.mask * torch.tensor(groups.mask).reshape(-1, 1)

        # 4. Update the policy with the clipped loss.
        old_log_probs = log_probs_of(policy, topics, samples).detach()
        for _ in range(EPOCHS):
            log_probs = log_probs_of(policy, topics, samples)
            result = clipped_policy_loss(log_probs, old_log_probs, advantages, sequence_weights(mask), clip=0.2)
            optimizer.zero_grad()
            result.loss.backward()
            optimizer.step()

        # 5. Promote the prompts whose group beat its reference, together with the update.
        visits = [
            PromptOutcome(it.prompt_index, it.rung, tuple(group)) for it, group in zip(draws, outcomes, strict=True)
        ]
        promoted = curriculum.commit(curriculum.stage(visits))
        history.append(Step(float(rewards.mean()), len(promoted), float(curriculum.rungs.mean())))
    return history


if __name__ == "__main__":
    for number, it in enumerate(train(), 1):
        if number == 1 or number % 5 == 0:
            print(f"step {number:3}  mean reward {it.reward:.2f}  promotions {it.promotions}  mean rung {it.rung:.2f}")
