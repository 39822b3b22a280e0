"""Rules of the source tree: one module for each type name, files of moderate size, imports without cycles."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import longform

ROOT = Path(longform.__file__).parent
MAX_COLUMNS_OF_README = 100
MAX_LINES = 500


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


def _type_names(tree: ast.Module) -> Iterator[str]:
    """Classes, type aliases and TypeVars at module level."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_type(name, value):
                yield name


def _is_type(name: str, value: ast.expr) -> bool:
    """Whether an assignment defines a type: a CamelCase name for a subscript, a union, a TypeVar or another type."""
    if not name.lstrip("_")[0].isupper() or name.isupper():
        return False
    called = isinstance(value, ast.Call) and ast.unparse(value.func) in {
        "TypeVar",
        "NamedTuple",
        "NewType",
        "ParamSpec",
    }
    return called or isinstance(value, ast.Subscript | ast.BinOp | ast.Name | ast.Attribute)


def _imported_modules(module: str, path: Path) -> set[str]:
    """The modules of the package that a module imports when it is loaded or for type checking."""
    imported: set[str] = set()
    pending: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue  # imports inside functions run later
        if isinstance(node, ast.Import):
            imported |= {it.name for it in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                base = f"{package}.{base}".rstrip(".")
            imported |= {name if (name := f"{base}.{it.name}") in SOURCES else base for it in node.names}
        pending.extend(ast.iter_child_nodes(node))
    return (imported & SOURCES.keys()) - {module}


def _cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            component, stack[start:] = stack[start:], []
            if len(component) > 1:
                components.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return components


def test_no_type_name_is_defined_in_two_modules():
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for module, path in SOURCES.items():
        for name in _type_names(ast.parse(path.read_text(encoding="utf-8"))):
            modules[name.removeprefix("_")].add(module)
    assert {name: sorted(owners) for name, owners in modules.items() if len(owners) > 1} == {}


def test_no_file_is_longer_than_500_lines():
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in SOURCES.items()}
    assert {module: length for module, length in lengths.items() if length > MAX_LINES} == {}


def test_no_modules_import_each_other_in_a_cycle():
    assert _cycles({module: _imported_modules(module, path) for module, path in SOURCES.items()}) == []


def test_the_cycle_search_finds_a_cycle():
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_every_module_and_function_that_the_docs_name_exists():
    root = ROOT.parents[1]
    named = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)(?:: ([A-Za-z_]+)`)?")
    for page in [*(root / "docs").rglob("*.md"), root / "README.md", root / "CONTRIBUTING.md"]:
        for path, name in named.findall(page.read_text(encoding="utf-8")):
            found = next((it for it in (root / path, root / "src/longform" / path) if it.exists()), None)
            assert found is not None, f"{page.name}: {path}"
            defined = re.compile(rf"^ *(async def|def|class) {name}\b", re.MULTILINE)
            assert not name or defined.search(found.read_text(encoding="utf-8")), f"{page.name}: {path}: {name}"


def test_no_line_of_the_readme_is_longer_than_a_terminal():
    lines = (ROOT.parents[1] / "README.md").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if len(line) > MAX_COLUMNS_OF_README] == []


def test_no_group_of_a_regular_expression_is_possessive():
    """Python 3.11.0 to 3.11.4, and so Debian 12, match such a group wrongly (gh-106052); single signs may be."""
    possessive = re.compile(r"\)(?:\+\+|\*\+|\?\+|\{\{?[0-9,]+\}\}?\+)|\(\?>")
    found = {module: possessive.findall(path.read_text(encoding="utf-8")) for module, path in SOURCES.items()}
    assert {module: groups for module, groups in found.items() if groups} == {}
