"""`longform pool SOURCE...`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longform.cli.flags import READ_FLAGS, Flag, NameList, PositiveInt, ReadFlags, Repeated, Seed, Similarity
from longform.cli.output import command_line, print_result, print_table, progress

if TYPE_CHECKING:
    from longform.selection.pool import Pool


def pool(
    sources: Repeated,
    *,
    out: Path,
    language: Repeated = (),
    decontaminate: NameList = (),
    near_dup_threshold: Similarity = 0.8,
    min_words: PositiveInt = 5,
    max_words: PositiveInt = 10_000,
    keep_redacted: Flag = False,
    limit: PositiveInt | None = None,
    seed: Seed = 0,
    dropped: Path | None = None,
    responses: Path | None = None,
    reading: ReadFlags = READ_FLAGS,
    json: Flag = False,
) -> None:
    """Collect prompts from chat logs and files; remove duplicates and benchmark prompts.

    The first user turn of each conversation becomes a prompt, after the system turn if there is one.
    Prompts that their source marks as toxic are dropped.

    Args:
        sources: Files (.jsonl, .json, .csv, .tsv, .txt, .parquet), folders of such files, or ids of Hugging Face datasets
            such as allenai/WildChat-1M.
            Formats are detected from the fields: WildChat, LMSYS-Chat, LongWriter messages, WritingBench queries, prompts.
        out: Prompts file to write (.jsonl or .parquet).
        language: Keep prompts in this language, such as en or zh. May be repeated (default: all languages). If the source
            does not state the language, Chinese, Japanese, Korean and English are detected from the text.
        decontaminate: Files of benchmark prompts in any of these formats. A prompt is dropped if it equals a benchmark
            prompt word for word, is a near-duplicate of one, or shares 13 consecutive words (20 Chinese characters) with it.
        near_dup_threshold: Drop a prompt if the Jaccard similarity of its word trigrams to an earlier prompt reaches this.
        min_words: Drop prompts with fewer words.
        max_words: Drop prompts with more words.
        keep_redacted: Keep prompts whose source redacted names in them.
        limit: Randomly subsample to this many prompts.
        seed: Random seed of --limit.
        dropped: Also write a file with one row per dropped prompt and the reason.
        responses: Also write the sources' own answers (the turn after the prompt in `messages` and `conversation`) as
            responses, with the source as the model.
        json: Print the result as JSON.
    """
    from longform.selection.languages import parse_languages
    from longform.selection.pool import PoolSettings, build_pool

    settings = PoolSettings(
        languages=parse_languages(language),
        min_words=min_words,
        max_words=max_words,
        near_dup_threshold=near_dup_threshold,
        keep_redacted=keep_redacted,
        limit=limit,
        seed=seed,
    )
    gathered = build_pool(
        sources,
        settings,
        out=out,
        decontaminate=decontaminate,
        dropped=dropped,
        responses=responses,
        reading=reading.parse(),
        progress=progress,
    )
    also = {"dropped": dropped, "responses": responses}
    paths = {"path": str(out)} | {name: str(path) for name, path in also.items() if path is not None}
    _print(gathered, paths, as_json=json)


def _print(gathered: "Pool", paths: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_result(_figures(gathered) | paths, as_json=True)
        return
    causes = list(gathered.outcomes())
    rows = [
        [source, *(str(count) for count in (outcomes.total(), *(outcomes[cause] for cause in causes)))]
        for source, outcomes in gathered.sources.items()
    ]
    print_table("Prompts of each source", ["", "read", *map(str, causes)], rows)
    figures = _figures(gathered)
    languages = ", ".join(f"{count} {code}" for code, count in figures["languages"].items())
    print_result(
        {
            "prompts": f"{figures['prompts']} of {figures['read']}",
            "languages": f"{languages} ({figures['languages_guessed']} detected from the text)",
        }
        | paths,
        as_json=False,
        next_command=command_line("filter", paths["path"], "--judge", "JUDGE", "--out", "PROMPTS"),
    )


def _figures(gathered: "Pool") -> dict[str, Any]:
    from collections import Counter

    metas = [prompt.meta for prompt in gathered.prompts]
    return {
        "prompts": len(gathered.kept),
        "read": gathered.total().total(),
        "fates": gathered.outcomes(),
        "sources": {
            source: {str(it): n for it, n in outcomes.items() if n} for source, outcomes in gathered.sources.items()
        },
        "languages": dict(Counter(meta.get("language", "unknown") for meta in metas).most_common()),
        "languages_guessed": sum(meta.get("language_from") == "text" for meta in metas),
    }
