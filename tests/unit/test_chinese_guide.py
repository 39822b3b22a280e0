"""The guide in Chinese shows the commands, recipes and tables of the English one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHINESE = sorted((ROOT / "docs" / "zh").glob("*.md"))
ENGLISH = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"\s+# .*$|^# .*$")


def _lines(path: Path, language: str) -> list[str]:
    """The lines of a page's blocks without comments; a command that is continued is one line."""
    blocks = "".join(text for name, text in _BLOCK.findall(path.read_text(encoding="utf-8")) if name == language)
    joined = re.sub(r"\\\n\s*", "", blocks)
    return [line for line in (_COMMENT.sub("", line).rstrip() for line in joined.split("\n")) if line]


def _all_lines(language: str) -> set[str]:
    return {line for path in ENGLISH for line in _lines(path, language)}


def _inline(path: Path) -> set[str]:
    return set(re.findall(r"`(longform [^`]+)`", path.read_text(encoding="utf-8")))


def _table_rows(path: Path, heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    section = path.read_text(encoding="utf-8").partition(f"{heading}\n")[2].split("\n\n")
    table = next(part for part in section if part.lstrip().startswith("|"))
    return [line.split("|")[1].strip() for line in table.strip().split("\n")[2:]]


def test_there_is_a_guide():
    assert {path.name for path in CHINESE} >= {"index.md", "own-prompts.md", "longwriter-zero.md", "commands.md"}


@pytest.mark.parametrize("language", ["sh", "yaml"])
@pytest.mark.parametrize("page", CHINESE, ids=lambda path: path.name)
def test_every_line_of_a_command_or_a_recipe_is_in_the_english_guide(page, language):
    assert set(_lines(page, language)) <= _all_lines(language)


@pytest.mark.parametrize("page", CHINESE, ids=lambda path: path.name)
def test_every_command_in_the_text_is_in_the_english_guide(page):
    assert _inline(page) <= {command for path in ENGLISH for command in _inline(path)}


def test_the_steps_with_own_prompts_are_all_there():
    readme = set(_lines(ROOT / "README.md", "sh"))
    assert readme - {"make test"} <= {line for page in CHINESE for line in _lines(page, "sh")}


def test_the_list_of_commands_is_the_same():
    english = _table_rows(ROOT / "README.md", "## Commands")
    assert _table_rows(ROOT / "docs" / "zh" / "commands.md", "# 命令一览") == english


def test_the_fields_of_files_are_the_same():
    def fields(path):
        files = path.read_text(encoding="utf-8").rpartition("| `id`, `prompt`")[2]
        return re.findall(r"`(\w+)`", files.split("\n\n")[0])

    assert fields(ROOT / "docs" / "zh" / "commands.md") == fields(ROOT / "README.md")


@pytest.mark.parametrize("page", CHINESE, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists()
