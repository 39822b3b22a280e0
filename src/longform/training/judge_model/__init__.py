"""Training a small model as a pairwise judge: fine-tuning on verdicts with reasons, then GRPO on labelled pairs."""
