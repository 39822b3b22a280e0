"""What is checked of a cluster run before Ray starts: each failure is one line that says what to do."""

from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

from longform.cluster.config import TRAINER
from longform.recipe.inputs import TrainingInputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.optional import describe_missing
from longform.text.structure import OPENING_TAG
from longform.writers.chat_template import render_chat
from longform.writers.encoding import encode_prompts
from longform.writers.loading import load_config, load_tokenizer
from longform.writers.self_check import check_context
from longform.writers.settings import GenerationSettings

VERL = ((0, 9, 1), (0, 10))
"""The versions of verl that this package knows: from the first, below the second."""
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "lustre", "beegfs", "gpfs", "ceph", "glusterfs", "fuse.sshfs", "9p"}


def check_cluster(recipe: Recipe, inputs: TrainingInputs) -> None:
    """Check everything but the GPUs before Ray starts.

    Raises:
        BadInputError: verl is missing or of another version, the plugin is not registered, the run directory is on a
            network file system, the policy has no chat template, or a prompt is too long.
    """
    check_version()
    check_plugin()
    check_local_disk(recipe.run_path)
    tokenizer = load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code)
    uses_template = recipe.generation.uses_chat_template
    if uses_template and not tokenizer.chat_template:
        raise BadInputError(
            f"policy: {recipe.policy} has no chat template, and verl writes through one; add it to the tokenizer, or set "
            "generation.chat_template: off"
        )
    if uses_template and recipe.generation.think != "off" and opens_a_plan(tokenizer, recipe.generation):
        raise BadInputError(
            f"policy: the chat template of {recipe.policy} opens <think> itself, and verl writes through it as it is; take "
            "the tag out of the template, so that responses hold it, or set generation.chat_template_kwargs"
        )
    longest_prompt = 0
    for prompt in chain(inputs.prompts, inputs.validation_prompts):  # one at a time: there may be a million
        longest_prompt = max(longest_prompt, *map(len, encode_prompts(tokenizer, [prompt], settings=recipe.generation)))
    config = load_config(recipe.policy, trust_remote_code=recipe.trust_remote_code)
    check_context(config, path=recipe.policy, settings=recipe.generation, longest_prompt=longest_prompt)


def opens_a_plan(tokenizer: Any, settings: GenerationSettings) -> bool:
    """Whether a chat template ends its prompts with the tag that a response should begin with."""
    asked = render_chat(
        tokenizer, [{"role": "user", "content": "?"}], name="policy", kwargs=settings.chat_template_kwargs
    )
    return asked.rstrip().endswith(OPENING_TAG)


def check_version() -> None:
    """Verl is there, in a version that is known."""
    try:
        found = version("verl")
    except PackageNotFoundError:
        raise BadInputError(f"engine: cluster: {describe_missing('verl')}") from None
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdecimal())
    lowest, highest = VERL
    if not lowest <= numbers < highest:
        wanted = f">={'.'.join(map(str, lowest))},<{'.'.join(map(str, highest))}"
        raise BadInputError(f"engine: cluster works with verl {wanted}; verl {found} is installed")


def check_plugin() -> None:
    """Verl knows our trainer. It says nothing where a plugin fails to load, so it is looked for."""
    import verl  # noqa: F401  (loads plugins)
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

    if TRAINER not in TRAINER_REGISTRY:
        raise BadInputError(
            f"verl did not load longform's plugin, so trainer {TRAINER!r} is not registered: reinstall longform[cluster], "
            "or unset VERL_USE_EXTERNAL_PLUGINS if it leaves `longform` out"
        )


def check_devices(recipe: Recipe) -> None:
    """This machine has the GPUs that a run on one node needs; those of other nodes are Ray's to find."""
    from verl.plugin.platform import get_platform

    machines = recipe.machines
    if machines.ray_address is not None:
        return
    if machines.nodes > 1:
        raise BadInputError(
            f"cluster.nodes is {machines.nodes}: start Ray on all nodes, and set cluster.ray_address, such as auto"
        )
    platform = get_platform()
    found = platform.device_count() if platform.is_available() else 0
    if found < machines.gpus_per_node:
        raise BadInputError(f"cluster.gpus_per_node is {machines.gpus_per_node}; this machine has {found}")


def check_local_disk(folder: Path, *, mounts: Path = Path("/proc/mounts")) -> None:
    """The folder is on a disk of this machine: a database cannot be kept safe on a network file system."""
    kind, place = file_system(folder, mounts=mounts)
    if kind in _NETWORK:
        raise BadInputError(
            f"{folder}: lies on a network file system ({kind} at {place}), where run.sqlite is not safe; choose a "
            "run.folder on a local disk, and cluster.checkpoints for what all nodes have to see"
        )


def file_system(folder: Path, *, mounts: Path) -> tuple[str, str]:
    """Type and mount point of a folder's file system; empty if unknown."""
    target, found = str(folder.resolve()), ("", "")
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        is_above = target == place or target.startswith(place.rstrip("/") + "/")
        if is_above and len(place) >= len(found[1]):
            found = (kind, place)
    return found
