"""The shape of the house: who may import whom, how long things may get, what is never written.

The rules are DESIGN in one page: a pure core decides, thin shells do. See `docs/architecture.md`.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

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
    "clock": set(),
    "children": set(),
    "loading": set(),
    "core": set(),
    "dialects": {"core"},
    "store": {"core", "ids", "clock"},
    "observe": {"core", "ids"},
    "exports": {"core", "store", "ids"},
    "relay": {"core", "dialects", "observe", "ids", "clock"},
    "admin": {"core", "store", "exports", "observe", "ids", "clock", "children"},
    "console": {"core", "store", "exports", "admin", "ids", "clock"},
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


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


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
    return {name[1] for name in names if name[0] == "proxy" and len(name) > 1 and name[1] in PARTS}


PARTS = {part_of(module) for module in MODULES}


def functions_of(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def places(path: Path, nodes: Iterable[ast.AST]) -> list[str]:
    """Return where these nodes stand, as an editor finds it."""
    return [f"{name_of(path)}:{getattr(node, 'lineno', 1)}" for node in nodes]


def test_there_is_something_to_look_at() -> None:
    assert {"core", "ids"} <= PARTS


def test_arrows() -> None:
    too_far = {
        name_of(path): sorted(names)
        for path in MODULES
        if (part := part_of(path)) in ARROWS
        and (names := parts_imported(path) - ARROWS[part] - {part, "__init__"})
    }
    assert not too_far, f"these import what ARROWS does not let them: {too_far}"


def test_modules_fit_a_head() -> None:
    lengths = {name_of(path): len(text_of(path).splitlines()) for path in MODULES}
    assert not {name: n for name, n in lengths.items() if n > LONGER.get(name, MODULE_LINES_MAX)}


def test_functions_fit_a_screen() -> None:
    assert not [
        place
        for path in MODULES
        for place in places(
            path, (f for f in functions_of(tree_of(path)) if lines_of(f) > FUNCTION_LINES_MAX)
        )
    ]


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_exception_is_swallowed() -> None:
    assert not [place for path in MODULES for place in places(path, swallowing(tree_of(path)))]


def swallowing(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    """Yield the handlers that have no type, or take everything and do nothing about it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or (catches_all(node) and does_nothing(node))
        ):
            yield node


def catches_all(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(t, ast.Name) and t.id in ("Exception", "BaseException") for t in types)


def does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(node, ast.Pass | ast.Continue) or is_constant(node) for node in handler.body)


def is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_every_task_has_an_owner() -> None:
    """A task that nobody keeps can vanish, and what it raised with it. A TaskGroup keeps its own."""
    assert not [
        place
        for path in MODULES
        if name_of(path) not in TASK_OWNERS
        for place in places(
            path, (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call) and starts_a_task(n))
        )
    ]


def starts_a_task(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in ("create_task", "ensure_future"):
        return False
    return isinstance(function.value, ast.Name) and function.value.id in ("asyncio", "loop")


def test_modules_and_public_things_say_what_they_are() -> None:
    assert not [place for path in MODULES for place in places(path, silent(tree_of(path)))]


def silent(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef]:
    """Yield the module and its public classes if they have no docstring."""
    if not ast.get_docstring(tree):
        yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
            yield node


def test_nothing_is_left_for_later() -> None:
    words = ("TODO", "FIXME", "XXX", "NotImplementedError")
    assert not [(name_of(path), word) for path in MODULES for word in words if word in text_of(path)]


def test_the_median_function_is_short() -> None:
    lengths = sorted(lines_of(function) for path in MODULES for function in functions_of(tree_of(path)))
    assert lengths[len(lengths) // 2] < 10
