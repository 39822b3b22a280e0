"""Contents of the pages about files of results."""

from collections.abc import Sequence
from typing import Any

from longform.viewer.collection import SEPARATOR, FoundFile
from longform.viewer.links import Links
from longform.viewer.row_files import RowPage, read_page, read_result


def file_content(
    file: FoundFile, links: Links, *, files: Sequence[FoundFile], limit: int, find: str = "", offset: int = 0
) -> dict[str, Any]:
    """The page of a file: the tables of a benchmark's result, or some of the rows.

    Args:
        file: The file.
        links: Addresses.
        files: All files: those of responses and prompts may have the texts of this one, and those beside a benchmark's
            result have what it was made from.
        limit: Number of rows.
        find: Only rows that have this text in any field, without regard to case.
        offset: The first of them, among the rows that are found.
    """
    tables = read_result(file.path) if file.kind == "result" else []
    others = {it.key.replace(SEPARATOR, "/"): it.path for it in files if it.kind in ("responses", "prompts", "ladders")}
    page = (
        RowPage([], False)
        if tables
        else read_page(file.path, file.kind, find=find, offset=offset, limit=limit, others=others)
    )
    behind = [it for it in files if it.path.parent == file.path.parent and it != file] if tables else []
    has_later, has_earlier = page.more and links.dynamic, offset > 0
    return {
        "file": file,
        "tables": tables,
        "behind": behind,
        "rows": page.rows,
        "find": find,
        "earlier": links.file(file.key, {"q": find, "at": max(0, offset - limit)}) if has_earlier else "",
        "later": links.file(file.key, {"q": find, "at": offset + limit}) if has_later else "",
        "cut": page.more and not links.dynamic,
    }
