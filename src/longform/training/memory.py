"""How much memory a run needs, from the model's configuration and the recipe alone: before a weight is loaded.

The plan counts what is held throughout (weights, optimizers) and the larger of what writing and updating need on top.
Activations are counted tensor by tensor for decoders of the Llama family (RMS norm, rotary attention without stored scores,
gated MLP); others differ by what their layers keep. A response is taken to be as long as it may get.

Units: bytes, unless a name says otherwise.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.rewards.settings import WritingSettings
from longform.rl.log_probs import GPU_TILE
from longform.training.batch import CPU_PIECE
from longform.writers.paths import model_below
from longform.writers.shapes import ModelShape

GIB = 2**30
_FLOAT = 4
_ADAM = 8
"""Two moments in float32."""
_SPARE = 1.1
"""What comes and goes, times this: allocators keep pieces that fit nothing."""
_CUDA_CONTEXT = 0.8 * GIB
_CPU_PROCESS = 0.35 * GIB
"""Libraries that are loaded on use, buffers of the matrix kernels: as benchmarks/one_device.py finds it."""
_LORA_MATRICES = 7
_NEEDED = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by what they are for."""

    held: Mapping[str, float]
    """Throughout the run."""
    writing: Mapping[str, float]
    updating: Mapping[str, float]

    @property
    def total(self) -> float:
        """The most that is needed at once."""
        return sum(self.held.values()) + _SPARE * max(sum(self.writing.values()), sum(self.updating.values()))

    def lines(self) -> list[str]:
        """The plan for people, in GiB."""
        parts = (("held", self.held), ("while writing", self.writing), ("while updating", self.updating))
        lines = [
            f"{title}: " + ", ".join(f"{name} {size / GIB:.2f}" for name, size in sizes.items() if size)
            for title, sizes in parts
        ]
        return [*lines, f"in all up to {self.total / GIB:.2f}"]


def read_shape(path: str) -> ModelShape:
    """The shape of the model at a folder or hub id; reads its configuration, not its weights.

    Raises:
        BadInputError: there is none, or it is no decoder that a plan can be made for.
    """
    try:
        config: Any = AutoConfig.from_pretrained(model_below(path))
        missing = [name for name in _NEEDED if not hasattr(config, name)]
        if not missing:
            return shape_of(config)
    except BadInputError:
        raise
    except Exception as error:  # what a broken configuration makes transformers raise has no bounds
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"{path}: its configuration cannot be read: {reason}") from error
    raise BadInputError(
        f"{path}: is of a family ({config.model_type}) whose memory longform cannot plan: it has no {missing[0]}"
    )


def shape_of(config: Any) -> ModelShape:
    """The shape that a transformers configuration describes."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings().weight
    tied = head is model.get_input_embeddings().weight
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return ModelShape(
        parameters=parameters,
        head_parameters=0 if tied else head.numel(),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=heads,
        query_width=heads * head_width,
        key_width=key_heads * head_width,
        vocabulary=config.vocab_size,
    )


def count_scoring_parameters(path: str) -> int:
    """Weights of the reward model at a folder or hub id; reads its configuration, not its weights.

    Raises:
        BadInputError: there is none, or no classifier can be made of it.
    """
    try:
        config: Any = AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            model: Any = AutoModelForSequenceClassification.from_config(config)
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200]
        raise BadInputError(f"rewards.writing.model: {path}: its configuration cannot be read: {reason}") from error
    return sum(parameter.numel() for parameter in model.parameters())


def plan_memory(shape: ModelShape, recipe: Recipe, *, on_gpu: bool, scoring_parameters: int = 0) -> MemoryPlan:
    """What a run of `recipe` with a policy of this shape needs, beside a reward model of so many parameters."""
    width = _FLOAT if recipe.memory.precision == "float32" else 2
    longest = recipe.generation.max_prompt_tokens + recipe.generation.max_tokens
    trained_roles = 2 if recipe.method == "ppo" else 1
    critic = shape.parameters - shape.head_parameters if trained_roles == 2 else 0
    casts = 0 if recipe.lora or width == _FLOAT else width * shape.parameters
    held: dict[str, float]
    if recipe.lora:
        trained = adapter_parameters(shape, rank=recipe.lora.rank)
        held = {
            "weights": width * shape.parameters,
            "adapters": _FLOAT * trained_roles * trained,
            "optimizers": _ADAM * trained_roles * trained,
        }
        gradients = _FLOAT * trained
    else:
        held = {
            "policy": _FLOAT * shape.parameters,
            "critic": _FLOAT * critic,
            "reference": width * shape.parameters if recipe.optim.kl > 0 else 0,
            "optimizers": _ADAM * (shape.parameters + critic),
        }
        gradients = _FLOAT * (shape.parameters + shape.vocabulary * shape.hidden)  # the head's are summed apart
    held["reward model"] = (2 if on_gpu else _FLOAT) * scoring_parameters
    held["the device's own"] = _CUDA_CONTEXT if on_gpu else _CPU_PROCESS
    piece = recipe.memory.micro_tokens or (None if on_gpu else CPU_PIECE)
    in_flight = piece or recipe.mini_batch * longest
    # PPO asks critic and reference model about all rollouts of a step; GRPO the reference model, if there is one.
    rounds = 1 if recipe.method == "ppo" else (1 + recipe.grpo.resample) * (recipe.optim.kl > 0)
    measured = piece or rounds * recipe.rollouts * longest
    working = width * (3 * shape.intermediate + 4 * shape.hidden)  # of the layer that is being computed
    updating = {
        "weights in low precision": casts,
        "gradients": gradients,
        "activations": max(in_flight, longest) * activation_bytes(shape, recipe) + max(measured, longest) * working,
        "tiles of the output head": 4 * _FLOAT * GPU_TILE.tokens * GPU_TILE.vocabulary if on_gpu else 0,
    }
    batch = min(recipe.generation.batch, recipe.rollouts)
    writing = {
        "weights in low precision": casts,
        "keys and values": batch * longest * _cache_bytes(shape, recipe) * (1 + 1 / shape.layers),
        "reading prompts": batch * recipe.generation.max_prompt_tokens * working,
        "drawing tokens": batch * shape.vocabulary * (2 * _FLOAT + 3 * 8),
    }
    return MemoryPlan(held, writing, updating)


def activation_bytes(shape: ModelShape, recipe: Recipe) -> float:
    """Bytes that a token's forward pass leaves behind for the backward pass."""
    layer = _layer_activation_bytes(shape, recipe)
    if not recipe.memory.gradient_checkpointing:
        return layer * shape.layers
    stream = 2 if recipe.lora and recipe.memory.precision == "bfloat16" else _FLOAT
    return layer + stream * shape.hidden * shape.layers


def _layer_activation_bytes(shape: ModelShape, recipe: Recipe) -> float:
    """What one layer keeps of one token, in the order in which it is computed."""
    hidden, intermediate = shape.hidden, shape.intermediate
    low = recipe.memory.precision == "bfloat16"
    width = 2 if low else _FLOAT
    statistics = _FLOAT * (2 + shape.heads)  # of the two norms and of the attention
    attention = width * (2 * shape.query_width + 2 * shape.key_width)  # queries, keys, values, output
    if not recipe.lora:
        # Norms keep what they read and what they scale; matrices what they multiply, in low precision a copy each.
        norms = 2 * 2 * _FLOAT * hidden
        inputs = (3 + 2) * width * hidden if low else 2 * _FLOAT * hidden
        return norms + inputs + statistics + attention + 4 * width * intermediate
    norms = 2 * _FLOAT * hidden
    between = _LORA_MATRICES * _FLOAT * recipe.lora.rank
    if low:  # adapters multiply in float32: each keeps a copy of what its matrix read
        copies = _FLOAT * (5 * hidden + shape.query_width + intermediate)
        return norms + copies + between + statistics + attention + 3 * width * intermediate
    return norms + 2 * _FLOAT * hidden + between + statistics + attention + 4 * width * intermediate


def _cache_bytes(shape: ModelShape, recipe: Recipe) -> float:
    """Keys and values of one token. Under autocast the rotation leaves keys in float32, and the cache holds both so."""
    width = 2 if recipe.lora and recipe.memory.precision == "bfloat16" else _FLOAT
    return shape.layers * shape.key_width * 2 * width


def adapter_parameters(shape: ModelShape, *, rank: int) -> int:
    """Weights of one adapter: rank x (inputs + outputs) of every matrix inside the layers."""
    attention = 2 * (shape.hidden + shape.query_width) + 2 * (shape.hidden + shape.key_width)
    return shape.layers * rank * (attention + 3 * (shape.hidden + shape.intermediate))


def check_memory(recipe: Recipe) -> MemoryPlan:
    """The plan of a recipe on the device it will run on.

    Raises:
        BadInputError: it can't fit; names the settings that would make it fit, or says that none do.
    """
    on_gpu = torch.cuda.is_available() or recipe.memory.limit_gb is not None
    shape = read_shape(recipe.policy)
    scoring = sum(
        count_scoring_parameters(model)
        for it in recipe.rewards
        if isinstance(it, WritingSettings) and not it.endpoints
        for model in it.models
    )

    def plan_of(changed: Recipe) -> MemoryPlan:
        return plan_memory(shape, changed, on_gpu=on_gpu, scoring_parameters=scoring)

    plan = plan_of(recipe)
    limit = device_memory() if recipe.memory.limit_gb is None else recipe.memory.limit_gb * GIB
    if plan.total <= limit:
        return plan
    there = "this machine has" if recipe.memory.limit_gb is None else "memory.limit_gb is"
    needs = f"needs up to {plan.total / GIB:.2f} GiB, and {there} {limit / GIB:.2f}"
    changes, least = fitting_changes(recipe, lambda changed: plan_of(changed).total, limit)
    if least > limit:
        raise BadInputError(
            f"{recipe.policy}: {needs}; with {', '.join(changes)} it would still need {least / GIB:.2f}: "
            "take a smaller model or shorter responses (generation.max_tokens)"
        )
    raise BadInputError(f"{recipe.policy}: {needs}; it fits with {', '.join(changes)}")


def device_memory() -> float:
    """Bytes of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def fitting_changes(recipe: Recipe, need: Callable[[Recipe], float], limit: float) -> tuple[list[str], float]:
    """Settings to change, the cheapest first, until the recipe fits; and what it needs then.

    A change that helps only beside a later one (bfloat16 beside adapters) is found in a further round.
    """
    longest = recipe.generation.max_prompt_tokens + recipe.generation.max_tokens
    steps: list[tuple[str, str, Any]] = [
        ("memory", "micro_tokens", longest),
        ("memory", "gradient_checkpointing", True),
        *(("generation", "batch", batch) for batch in (32, 16, 8, 4)),
        ("memory", "precision", "bfloat16"),
        ("recipe", "lora", {}),
        *(("generation", "batch", batch) for batch in (2, 1)),
    ]
    changes: dict[str, str] = {}
    least = need(recipe)
    for section, key, value in (*steps, *steps):
        if least <= limit:
            break
        changed = _with(recipe, section, key, value)
        if need(changed) < least:
            recipe, least = changed, need(changed)
            name = key if section == "recipe" else f"{section}.{key}"
            changes[key] = f"{name}: {json.dumps(value) if key != 'precision' else value}"
    return list(changes.values()), least


def _with(recipe: Recipe, section: str, key: str, value: Any) -> Recipe:
    content = recipe.model_dump(mode="json")
    (content if section == "recipe" else content[section])[key] = value
    return Recipe.model_validate(content)
