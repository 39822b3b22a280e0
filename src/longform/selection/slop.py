"""Mine phrases that a model overuses, by language, from its texts and human ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from statistics import fmean, quantiles

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all
from longform.records.paths import check_out
from longform.records.schemas import Row
from longform.rewards.slop_lists import ListedPhrase, SlopList, SlopLists, language_of_text
from longform.text.slop_mining import mine_phrases

MIN_TEXTS = 10
"""Least number of texts of each side in a language; with fewer, a phrase of one text is a phrase of the language."""
_CHINESE = "zh"


class SlopText(Row):
    """One text: a row of responses, or of a file of texts."""

    text_field = "text"
    text: str
    prompt_id: str | None = None


def mine_slop(human: Sequence[Path], model: Sequence[Path], *, out: Path, reading: Reading = AS_IS) -> SlopLists:
    """Mine the phrases that a model uses far more often than people do, and write a list for each language to `out`.

    Args:
        human: Files of texts by people, such as responses.
        model: Files of the model's texts, best for the same requests.
        out: File to write, JSON.
        reading: How the files are read: renamed columns, and bad rows to skip.

    Raises:
        BadInputError: a bad row, too few texts in every language, or no phrase is overused.
    """
    if out.is_dir():
        raise BadInputError(f"--out {out}: is a folder; name a file")
    if out.suffix != ".json":
        raise BadInputError(f"--out {out}: lists are written as JSON; name a .json file")
    check_out(out, *human, *model)
    people, ours = _by_language(read_all(human, SlopText, reading)), _by_language(read_all(model, SlopText, reading))
    common = [it for it in sorted(ours) if min(len(ours[it]), len(people.get(it, []))) >= MIN_TEXTS]
    if not common:
        counts = "; ".join(f"{it}: {len(people.get(it, []))} human, {len(ours[it])} model" for it in sorted(ours))
        raise BadInputError(f"{human[0]}: no language has {MIN_TEXTS} texts of each side ({counts or 'no model text'})")
    lists = {it: found for it in common if (found := _mine(people[it], ours[it], language=it)) is not None}
    if not lists:
        raise BadInputError(f"{model[0]}: uses no phrase clearly more often than {human[0]} does")
    made = SlopLists(languages=lists)
    made.write(out)
    return made


def _mine(people: Sequence[SlopText], ours: Sequence[SlopText], *, language: str) -> SlopList | None:
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for number, it in enumerate(ours):
        by_prompt[it.prompt_id or f"text {number}"].append(it.text)
    is_chinese = language == _CHINESE
    found = mine_phrases(by_prompt, [it.text for it in people], is_chinese=is_chinese)
    if not found:
        return None
    glue = "" if is_chinese else " "
    phrases = [
        ListedPhrase(
            phrase=glue.join(it.phrase),
            model=round(it.model, 1),
            human=round(it.human, 1),
            keyness=round(it.keyness, 1),
        )
        for it in found
    ]
    bare = SlopList(phrases=phrases)
    shares = [bare.share(it.text) for it in people]
    return SlopList(
        phrases=phrases,
        allowed=ceil(1e4 * quantiles(shares, n=10)[-1]) / 1e4,
        human_share=round(fmean(shares), 4),
        model_share=round(fmean(bare.share(it.text) for it in ours), 4),
    )


def _by_language(rows: Iterable[SlopText]) -> dict[str, list[SlopText]]:
    found: dict[str, list[SlopText]] = defaultdict(list)
    for row in rows:
        if row.text.strip():
            found[language_of_text(row.text)].append(row)
    return dict(found)
