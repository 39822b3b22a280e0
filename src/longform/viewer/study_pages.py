"""Contents of the page of a study."""

from pathlib import Path
from typing import Any

from longform.evaluation.tables import format_table
from longform.report.study import StudyFindings, read_findings, study_charts
from longform.viewer.charts import draw_interactive
from longform.viewer.collection import ViewerCollection
from longform.viewer.links import Links


def study_content(path: Path, collection: ViewerCollection, links: Links) -> dict[str, Any]:
    """The page of a study: facts, tables, curves, and links to its runs.

    Args:
        path: The file of its findings.
        collection: Where its runs are looked for.
        links: Addresses.

    Raises:
        BadInputError: the file is damaged.
    """
    findings = read_findings(path)
    return {
        "name": findings.name,
        "facts": findings.facts,
        "pictures": [draw_interactive(chart) for chart in study_charts(findings)],
        "tables": list(map(format_table, findings.tables)),
        "runs": {links.run(run): title for run, title in _runs(findings, path.parent, collection).items()},
    }


def _runs(findings: StudyFindings, folder: Path, collection: ViewerCollection) -> dict[str, str]:
    """Titles of the study's runs that have begun, by key."""
    keys = {path.resolve(): key for key, path in collection.runs().items()}
    placed = {(folder / run).resolve(): title for run, title in findings.runs.items()}
    return {keys[path]: title for path, title in placed.items() if path in keys}
