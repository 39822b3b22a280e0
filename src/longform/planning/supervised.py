"""Memory of a supervised stage on each GPU, from the model's config.json and the lengths of the rows.

The plan is for the longest rows of the data, side by side. With sharded weights (FSDP) each GPU holds its part of weights,
gradients and optimizer, and gathers the layers that it computes.

Units: bytes, unless a name says otherwise.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from longform.planning.device import CPU_PROCESS, CUDA_CONTEXT
from longform.planning.memory import (
    ADAM,
    FLOAT,
    GIB,
    HEADROOM,
    LOW,
    ByteCounts,
    Numerics,
    adapter_parameters,
    layer_activation_bytes,
)
from longform.planning.shapes import ModelShape
from longform.records.errors import BadInputError
from longform.rl.settings import LoraSettings, MemorySettings

_GATHERED_LAYERS = 2
"""Sharded layers that a GPU holds whole: the one that it computes, and the next one."""
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32_768
"""Logits that TRL computes at once (`ChunkedLogProbFunction`)."""
_CPU_COPIES = 8
"""Of these logits in float32 on a CPU, where a kernel would work in place: TRL's tile, its steps, and their gradient."""
_MOMENTUM = 4
"""Muon's momentum of one weight in float32."""


@dataclass(frozen=True, slots=True)
class SupervisedWorkload:
    """What the memory of a stage depends on."""

    shape: ModelShape
    rows: int
    """Rows of a batch on each GPU."""
    longest: int
    """Tokens of the longest row."""
    memory: MemorySettings
    lora: LoraSettings | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    texts_per_row: int = 1
    """2 for pairs."""
    has_head: bool = True
    """Whether it is a language model; a reward model has one output."""
    shards: int = 1
    """GPUs that share weights, gradients and optimizer."""
    per_sequence: int = 1
    """GPUs that share a sequence (context parallelism)."""
    on_gpu: bool = True

    @property
    def numerics(self) -> Numerics:
        """How the model computes."""
        if self.memory.precision == "float32":
            return "float32"
        return "bfloat16" if self.lora or self.shards > 1 else "autocast"

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        return self.shape.parameters if self.has_head else self.shape.parameters - self.shape.head_parameters

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch, padding included."""
        row = self.longest * self.texts_per_row
        limit = self.memory.microbatch_tokens(on_gpu=self.on_gpu)
        return self.rows * row if limit is None else min(max(limit, row), self.rows * row)

    def changed(self, key: str, value: Any) -> "SupervisedWorkload":
        """The same stage with another value of a key of its recipe."""
        section, _, name = key.partition(".")
        if section == "lora":
            return replace(self, lora=LoraSettings.model_validate(value))
        return replace(self, memory=self.memory.model_copy(update={name: value}))


@dataclass(frozen=True, slots=True)
class SupervisedPlan:
    """Planned memory of each GPU, in bytes by purpose."""

    held: ByteCounts
    """Throughout the stage."""
    updating: ByteCounts
    """In addition, during an update."""
    scoring: ByteCounts
    """In addition, while a reward model scores its held-out pairs at the end."""

    @property
    def total(self) -> float:
        """Peak of the stage."""
        return sum(self.held.values()) + HEADROOM * max(sum(self.updating.values()), sum(self.scoring.values()))

    def lines(self) -> list[str]:
        """Format the plan in GiB."""
        lines = [
            f"{title}: " + ", ".join(f"{name} {size / GIB:.2f}" for name, size in sizes.items() if size)
            for title, sizes in (("throughout", self.held), ("update", self.updating))
        ]
        return [*lines, f"total: up to {self.total / GIB:.2f}"]


def plan_supervised(work: SupervisedWorkload) -> SupervisedPlan:
    """Plan a stage."""
    shape, shards = work.shape, work.shards
    width = FLOAT if work.memory.precision == "float32" else LOW
    ends = 2 * shape.vocabulary * shape.hidden if work.has_head else shape.vocabulary * shape.hidden
    held: dict[str, float]
    if work.lora:
        trained = adapter_parameters(shape, rank=work.lora.rank)
        held = {
            "weights": width * work.parameters,
            "adapters": FLOAT * trained,
            "optimizer": _optimizer_bytes(work, trained, trained),
        }
        gradients = FLOAT * trained
    else:
        matrices = shape.layers * shape.layer_parameters
        held = {
            "weights": FLOAT * work.parameters / shards,
            "optimizer": _optimizer_bytes(work, work.parameters, matrices) / shards,
        }
        gradients = FLOAT * work.parameters / shards
    held["device and libraries"] = CUDA_CONTEXT if work.on_gpu else CPU_PROCESS
    tokens = work.tokens / work.per_sequence
    layer = layer_activation_bytes(shape, work.numerics, lora_rank=work.lora.rank if work.lora else None)
    activations = layer * shape.layers
    if work.memory.gradient_checkpointing:
        activations = layer + (LOW if work.numerics == "bfloat16" else FLOAT) * shape.hidden * shape.layers
    updating = {
        "gradients": gradients,
        "activations": tokens * (activations + width * (3 * shape.intermediate + 4 * shape.hidden)),
        "weights in low precision": LOW * work.parameters if work.numerics == "autocast" else 0,
        "gathered layers": (LOW + FLOAT) * (_GATHERED_LAYERS * shape.layer_parameters + ends) if shards > 1 else 0,
        "output head": _head_bytes(work, tokens) if work.has_head else 0,
    }
    # On a CPU the trained model stays in memory beside the saved one that is loaded to score; on a GPU it is freed first.
    scoring = {"reward model": FLOAT * work.parameters} if not (work.has_head or work.on_gpu) else {}
    return SupervisedPlan(held, updating, scoring)


def check_supervised(work: SupervisedWorkload, *, model: str, limit: float | None, available: str) -> SupervisedPlan:
    """Plan a stage that must fit into `limit` bytes on each GPU.

    Args:
        work: The stage.
        model: Its name, for the message.
        limit: Bytes; None: unknown.
        available: Subject and verb of the message, such as `memory.limit_gb is`.

    Raises:
        BadInputError: it does not fit; names the key that frees most, and the next ones until it fits.
    """
    plan = plan_supervised(work)
    if limit is None or plan.total <= limit:
        return plan
    needs = f"{model}: needs up to {plan.total / GIB:.2f} GiB on each device, and {available} {limit / GIB:.2f}"
    changes, fitting = _changes_that_free_most(work, limit)
    named = ", ".join(changes)
    needed = plan_supervised(fitting).total
    if needed <= limit:
        raise BadInputError(f"{needs}; it fits with {named}")
    still = f"with {named} it would still need {needed / GIB:.2f}: " if changes else ""
    raise BadInputError(
        f"{needs}; {still}use shorter rows (settings.max_tokens), a smaller model, or several GPUs that share its weights "
        "(accelerate/fsdp2.yaml)"
    )


def _changes_that_free_most(work: SupervisedWorkload, limit: float) -> tuple[list[str], SupervisedWorkload]:
    """Keys to change until the stage fits, each time the one that frees most; and the changed stage."""
    changes: list[str] = []
    while (needed := plan_supervised(work).total) > limit:
        options = [(needed - plan_supervised(work.changed(*it)).total, it) for it in _options(work)]
        freed, (key, value) = max(options, key=lambda it: it[0], default=(0.0, ("", None)))
        if freed <= 0:
            break
        work = work.changed(key, value)
        written = {True: "true", "{}": "{}"}.get(value if isinstance(value, bool) else str(value), value)
        changes.append(f"{key}: {written} (frees {freed / GIB:.2f})")
    return changes, work


def _options(work: SupervisedWorkload) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("memory.max_tokens_per_microbatch", work.longest * work.texts_per_row),
        ("memory.gradient_checkpointing", True),
        ("memory.precision", "bfloat16"),
    ]
    return options if work.lora or work.shards > 1 else [*options, ("lora", {})]


def _optimizer_bytes(work: SupervisedWorkload, trained: int, matrices: int) -> float:
    if work.optimizer == "adamw":
        return ADAM * trained
    return _MOMENTUM * matrices + ADAM * (trained - matrices)


def _head_bytes(work: SupervisedWorkload, tokens: float) -> float:
    """The head's gradient is summed apart from that of the embeddings; the logits are computed in tiles."""
    gradient = 0 if work.lora else FLOAT * work.shape.vocabulary * work.shape.hidden
    tile = min(tokens, _TILE_TOKENS) * min(work.shape.vocabulary, _TILE_VOCABULARY)
    copies = FLOAT if work.on_gpu else FLOAT * _CPU_COPIES
    return gradient + copies * tile + 3 * FLOAT * tokens * work.shape.hidden
