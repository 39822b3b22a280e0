"""Paths of models, and why one could not be read."""

from huggingface_hub.errors import LocalEntryNotFoundError

from longform.writers.paths import load_failure


def test_a_model_that_is_neither_here_nor_reachable_is_told_with_the_remedy(tmp_path):
    error = OSError("We couldn't connect to the hub ...")  # as transformers raises it, about an address
    error.__cause__ = LocalEntryNotFoundError("Please check your connection")
    said = load_failure("models/qwen", error)
    assert "no such folder here" in said
    assert "`hf download models/qwen --local-dir FOLDER`" in said
    assert load_failure(str(tmp_path), error) == str(error)
    assert load_failure("models/qwen", ValueError()) == "ValueError"
