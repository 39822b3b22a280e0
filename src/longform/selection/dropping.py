"""Requirement dropping: preferences without labels (WRL, arXiv 2604.27453).

A request is reduced by removing some of its requirements. The same writer responds to the full and to the reduced request;
judged by the full request, the first text is better. Such pairs teach instruction following but not style, because both
texts have the same author. Texts written independently also differ by chance, and usually in length; if the writer instead
revises its first text for the reduced request, the two differ in the removed requirements and little else.

A reduced prompt's id contains the prompt's id, the method of reduction and a hash of the request, so that results for
another request or method are never reused.
"""

import hashlib
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.concurrency import map_bounded
from longform.judging.answers import fence_tag
from longform.judging.rewriting import Rewriter, ask_revision
from longform.records.collection import Collection
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.progress import Progress
from longform.records.resume import check_resume
from longform.records.schemas import Prompt, Response, Row
from longform.selection.generate import CollectResult
from longform.selection.preferences import LeftOut, Preferences, preference
from longform.text.words import sentences

ONE_SENTENCE = "one_sentence"
"""Cause of failure if the rule cannot reduce a request."""


class DroppingFiles(NamedTuple):
    """Files next to OUT."""

    reduced: Path
    full_responses: Path
    reduced_responses: Path
    revisions: Path
    """Revisions of the full responses for the reduced requests."""
    writing: Path
    """Settings of the writer (see `record_writing`)."""

    @classmethod
    def next_to(cls, out: Path) -> "DroppingFiles":
        """Return the files that belong to `out`."""
        ends = ("reduced", "full", "reduced-responses", "revisions", "writing")
        return cls(*(out.with_name(f"{out.name}.{end}.jsonl") for end in ends))


class WritingRecord(Row):
    """The writer's settings: everything that determines a text and is not in its row."""

    writer: str
    model: str
    """Folder of a local writer, or the endpoint's model name."""
    max_tokens: int
    temperature: float
    seed: int | None = None
    """Seed of a local writer."""
    local: dict[str, Any] | None = None
    """Options of a local writer that decide its texts and are not at their defaults."""


async def reduce_by_model(
    prompts: Sequence[Prompt], rewriter: Rewriter, *, out: Path, on_progress: Progress
) -> CollectResult:
    """Have a model reduce requests; append the reduced prompts to `out`.

    Raises:
        BadInputError: a prompt without a user message, a misconfigured endpoint, or an unwritable file.
        StoppedError: the budget is spent.
    """
    result = CollectResult(out)
    requests = {prompt.id: _request(prompt) for prompt in prompts}
    ids = {prompt.id: reduced_id(prompt, by=rewriter.endpoint.name) for prompt in prompts}
    with Collection(out, Prompt) as collection:
        missing = [prompt for prompt in prompts if (ids[prompt.id],) not in collection]

        async def work(prompt: Prompt) -> None:
            asked = await rewriter.reduce(requests[prompt.id], prompt_id=prompt.id)
            if asked.value is None:
                result.failures[str(asked.cause)] += 1
            else:
                collection.add(_with_request(prompt, asked.value, id_=ids[prompt.id]))
                result.added += 1
            on_progress(result.added + result.failures.total(), len(missing))

        await map_bounded(missing, work, workers=rewriter.endpoint.workers)
        result.rows = collection.finish([(it,) for it in ids.values()])
    return result


def reduce_by_rule(prompts: Sequence[Prompt], *, seed: int, out: Path) -> CollectResult:
    """Reduce requests by removing random sentences after the first; write the reduced prompts to `out`.

    Raises:
        BadInputError: a prompt without a user message, or an unwritable file.
    """
    result = CollectResult(out)
    with Collection(out, Prompt) as collection:
        ids = [reduced_id(prompt, by=rule_name(seed)) for prompt in prompts]
        for prompt, id_ in zip(prompts, ids, strict=True):
            reduced = leave_out_sentences(_request(prompt), random.Random(f"dropping/{seed}/{prompt.id}"))
            if reduced is None:
                result.failures[ONE_SENTENCE] += 1
            elif (id_,) not in collection:
                collection.add(_with_request(prompt, reduced, id_=id_))
                result.added += 1
        result.rows = collection.finish([(id_,) for id_ in ids])
    return result


def leave_out_sentences(request: str, stream: random.Random) -> str | None:
    """Remove at least one of the sentences after the first; None if there is only one sentence."""
    text = request.replace("\r\n", "\n").strip()  # as in `sentences`
    starts = [0]
    for sentence, following in pairwise(sentences(text)):
        starts.append(text.index(following, starts[-1] + len(sentence)))
    if len(starts) == 1:
        return None
    places = range(1, len(starts))
    left_out = set(stream.sample(places, stream.randint(1, len(places))))
    spans = enumerate(pairwise([*starts, len(text)]))
    return "".join(text[start:end] for place, (start, end) in spans if place not in left_out).strip()


def rule_name(seed: int) -> str:
    """Return the name of the rule as a method of reduction; a model's is its name in models.yaml."""
    return f"rule/{seed}"


def reduced_id(prompt: Prompt, *, by: str) -> str:
    """Return the id of a prompt reduced by the method `by`."""
    return f"{prompt.id}-reduced-{hashlib.sha256(f'{by}/{prompt.messages}'.encode()).hexdigest()[:8]}"


def read_reduced(path: Path, prompts: Sequence[Prompt], *, by: str) -> list[tuple[Prompt, Prompt]]:
    """Return (prompt, reduced prompt) pairs for the prompts that were reduced by the method `by`, in order."""
    reduced = {row.id: row for row in read_rows(path, Prompt)} if path.exists() else {}
    pairs = ((prompt, reduced.get(reduced_id(prompt, by=by))) for prompt in prompts)
    return [(prompt, row) for prompt, row in pairs if row is not None]


def record_writing(now: WritingRecord, *, out: Path) -> None:
    """Record the writer's settings, or compare them with those of the responses next to `out`.

    Responses only name the last part of the writer's path, which different policies may share.

    Raises:
        BadInputError: the responses next to `out` were written with other settings.
    """
    files = DroppingFiles.next_to(out)
    responses = (files.full_responses, files.reduced_responses, files.revisions)
    if files.writing.exists() and any(_is_begun(path) for path in responses):
        before = next(iter(read_rows(files.writing, WritingRecord)))
        stored, present = ({name: getattr(it, name) for name in WritingRecord.model_fields} for it in (before, now))
        check_resume(f"--out {out}: the writing", stored, present, remedy="choose another file")
    write_rows(files.writing, [now])


def ask_for_revisions(
    pairs: Sequence[tuple[Prompt, Prompt]], files: DroppingFiles, *, model: str, samples: int, secret: bytes
) -> list[Prompt]:
    """Build prompts that ask `model` to revise each of its texts for the reduced request.

    Empty and truncated texts are skipped.

    Args:
        pairs: (prompt, reduced prompt).
        files: Files with the responses.
        model: Name of the writer.
        samples: Responses per prompt.
        secret: Secret of the fence tags.
    """
    full = {row.key: row for row in read_rows(files.full_responses, Response)}
    prompts = []
    for prompt, shortened in pairs:
        for sample in range(samples):
            written = full.get((prompt.id, model, sample))
            if written is not None and written.text.strip() and written.finish_reason != "length":
                id_ = _revision_id(shortened, written)
                question = ask_revision(_request(shortened), written.text, tag=fence_tag(secret, id_, 0))
                prompts.append(_with_request(shortened, question, id_=id_))
    return prompts


def prefer_full(
    pairs: Sequence[tuple[Prompt, Prompt]], files: DroppingFiles, *, model: str, samples: int, revised: bool = False
) -> Preferences:
    """Pair the responses to full requests (chosen) with those to reduced requests (rejected), sample by sample.

    Pairs with a truncated text are left out, because they would differ in more than requirements.

    Args:
        pairs: (prompt, reduced prompt).
        files: Files with the responses.
        model: Name of the writer.
        samples: Responses per prompt.
        revised: Whether the responses to reduced requests are revisions (see `ask_for_revisions`).
    """
    made = Preferences()
    full = {row.key: row for row in read_rows(files.full_responses, Response)}
    others = {row.key: row for row in read_rows(files.revisions if revised else files.reduced_responses, Response)}
    for prompt, shortened in pairs:
        for sample in range(samples):
            chosen, key = full.get((prompt.id, model, sample)), (shortened.id, model, sample)
            if revised and chosen is not None:
                key = (_revision_id(shortened, chosen), model, 0)
            rejected = others.get(key)
            if any(it is not None and it.finish_reason == "length" for it in (chosen, rejected)):
                made.left_out[LeftOut.CUT_OFF] += 1
            elif chosen is None or rejected is None:
                made.left_out[LeftOut.NOT_WRITTEN] += 1
            else:
                made.add(preference(prompt, (model, chosen.text), (model, rejected.text), source="dropping"))
    return made


def _revision_id(shortened: Prompt, written: Response) -> str:
    """Build an id from the reduced request, the sample and the text, so that revisions of other texts are never reused."""
    digest = hashlib.sha256(f"{shortened.messages}/{written.text}".encode("utf-8", "replace")).hexdigest()[:8]
    return f"{shortened.id}-revised-{written.sample}-{digest}"


def _is_begun(path: Path) -> bool:
    """Whether a collection exists, complete or partial."""
    return path.exists() or path.with_name(f"{path.name}.partial").exists()


def _request(prompt: Prompt) -> str:
    """Return the last user message."""
    asking = [message["content"] for message in prompt.messages if message["role"] == "user"]
    if not asking:
        raise BadInputError(f"prompt {prompt.id}: has no user message to reduce")
    return asking[-1]


def _with_request(prompt: Prompt, request: str, *, id_: str) -> Prompt:
    """Replace the last user message; drop criteria and length range, which may reveal the removed requirements."""
    if isinstance(prompt.prompt, str):
        return Prompt(id=id_, prompt=request, meta=prompt.meta)
    messages = list(prompt.prompt)
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    messages[last] = messages[last].model_copy(update={"content": request})
    return Prompt(id=id_, prompt=messages, meta=prompt.meta)
