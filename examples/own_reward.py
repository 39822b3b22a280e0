"""Two rewards of one's own.

In a recipe:

    rewards:
      - {kind: pairwise, judge: judge}
      - {kind: "own_reward:dialogue", weight: 0.5}
      - {kind: "own_reward:BannedPhrases", weight: 0.5, settings: {phrases: [tapestry, testament to]}}

`own_reward:dialogue` is found in the current folder; `longform train RECIPE --dry-run` calls each reward once.
"""


def dialogue(prompt: str, response: str, reference: str, *, share: float = 0.3) -> float | None:
    """1 if at least `share` of the paragraphs hold speech, less below that; no reward where none was asked for."""
    if "dialogue" not in prompt.lower():
        return None  # the rollout is left out of the update
    paragraphs = [it for it in response.split("\n") if it.strip()]
    spoken = sum('"' in it or "\u201c" in it for it in paragraphs)
    return min(1.0, spoken / max(len(paragraphs), 1) / share)


class BannedPhrases:
    """1 less a tenth for each banned phrase, but at least 0. Built once, with the recipe's settings."""

    def __init__(self, phrases: list[str]) -> None:
        self.phrases = [it.lower() for it in phrases]

    def __call__(self, prompt: str, response: str, reference: str, **meta: object) -> float:
        text = response.lower()
        return max(0.0, 1.0 - 0.1 * sum(text.count(it) for it in self.phrases))
