"""The shape of the house: who may import whom, how long things may get, what is never written.

The rules are DESIGN in one page: a pure core decides, thin shells do. See `docs/architecture.md`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "proxy"
MODULES = sorted(PACKAGE.rglob("*.py"))

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
# Everything that is decided about a message stands under one table, in one place.
LONGER = {"proxy/core/session.py": 540}

# What each part may import of ours, besides itself. Parts that are not named may import everything.
ARROWS: dict[str, set[str]] = {
    "ids": set(),
    "core": set(),
    "dialects": {"core"},
    "store": {"core", "ids"},
    "observe": {"core", "ids"},
    "exports": {"core", "store", "ids"},
    "relay": {"core", "dialects", "observe", "ids"},
    "admin": {"core", "store", "exports", "observe", "ids"},
    "console": {"core", "store", "exports", "admin", "ids"},
    "simulator": set(),
}

# Who may start a task nobody awaits at once. Each of these owns its tasks: it keeps them, ends them
# and looks at how they ended.
TASK_OWNERS: set[str] = set()


def part_of(path: Path) -> str:
    """Return the part of the house a module belongs to: its folder, or its own name at the top."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.Module, path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, relative imports resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(tree_of(path), path))
    existing = {part_of(module) for module in MODULES}
    return {name[1] for name in names if name[0] == "proxy" and len(name) > 1 and name[1] in existing}


EVERY_MODULE = pytest.mark.parametrize("path", MODULES, ids=name_of)


def test_there_is_something_to_look_at() -> None:
    assert {"core", "ids"} <= {part_of(path) for path in MODULES}


@EVERY_MODULE
def test_arrows(path: Path) -> None:
    part = part_of(path)
    if part not in ARROWS:
        return
    too_far = parts_imported(path) - ARROWS[part] - {part, "__init__"}
    assert not too_far, f"{name_of(path)} imports {sorted(too_far)}; {part} may import {sorted(ARROWS[part])}"


@EVERY_MODULE
def test_modules_fit_a_head(path: Path) -> None:
    lines_max = LONGER.get(path.relative_to(ROOT).as_posix(), MODULE_LINES_MAX)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= lines_max


@EVERY_MODULE
def test_functions_fit_a_screen(path: Path) -> None:
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: lines for f in functions if (lines := lines_of(f)) > FUNCTION_LINES_MAX}
    assert not long


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@EVERY_MODULE
def test_no_exception_is_swallowed(path: Path) -> None:
    handlers = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.ExceptHandler)]
    assert all(handler.type is not None for handler in handlers), "a bare except"
    swallowing = [h.lineno for h in handlers if catches_all(h) and does_nothing(h)]
    assert not swallowing


def catches_all(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(t, ast.Name) and t.id in ("Exception", "BaseException") for t in types)


def does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(node, ast.Pass | ast.Continue) or is_constant(node) for node in handler.body)


def is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@EVERY_MODULE
def test_every_task_has_an_owner(path: Path) -> None:
    """A task that nobody keeps can vanish, and what it raised with it. A TaskGroup keeps its own."""
    if name_of(path) in TASK_OWNERS:
        return
    calls = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)]
    assert not [call.lineno for call in calls if starts_a_task(call)]


def starts_a_task(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in ("create_task", "ensure_future"):
        return False
    return isinstance(function.value, ast.Name) and function.value.id in ("asyncio", "loop")


@EVERY_MODULE
def test_modules_and_public_things_say_what_they_are(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "a module without a docstring"
    public = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    assert not [node.name for node in public if not ast.get_docstring(node)]


@EVERY_MODULE
def test_nothing_is_left_for_later(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("TODO", "FIXME", "XXX", "NotImplementedError") if word in text]


def test_the_median_function_is_short() -> None:
    lengths = sorted(
        lines_of(node)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] < 10
