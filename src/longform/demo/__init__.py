"""A demonstration on a pretrained model: prompts, a judge by rule, and the writer before and after two short runs."""
