"""
The layers, limits and manners that hold for every module of the program.

Each check is a function from modules to complaints, so that the bad snippets
below show that it can complain.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from textwrap import dedent

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGES = ("collectors", "analysis", "exporter")

MODULE_LINES = 400
FUNCTION_LINES, FUNCTION_P90, FUNCTION_MEDIAN = 60, 30, 12

STDLIB = sys.stdlib_module_names
OUTSIDE_WORLD = {
    "_thread", "asyncio", "concurrent", "ctypes", "fcntl", "fileinput", "glob", "http", "io",
    "mmap", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
OUTSIDE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint"}
THREAD_MAKERS = {"_thread", "asyncio", "concurrent", "multiprocessing"}

# Who may import what is not for everybody: a pattern of module names each.
CONFINED = {
    "bcc": r"collectors\.bpf\.worker",
    "prometheus_client": r"exporter\.metrics\w*",
    "apscheduler": r"exporter\.(scheduler|timetable|config\w*)",
    "waitress": r"exporter\.web\w*",
    "psutil": r"collectors\.(?!bpf\b).*|exporter\..*",
    "pynvml": r"collectors\.(?!bpf\b).*",
}
# One broad except each; bcc raises bare exceptions, so the worker needs one as well.
FENCES = {"exporter.orchestrator", "exporter.__main__", "collectors.bpf.worker"}
WALL_CLOCKS = {"exporter.clock"}  # wall time labels, it never measures
WALL_CLOCK = re.compile(
    r"(time\.time(_ns)?|(\w+\.)?datetime\.(now|utcnow|today)|(\w+\.)?date\.today)"
)
SAMPLE_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
PRIVATE_PATH = re.compile(r"(?<![\w.)}\]*>])/(home|Users|root|work)/\w")


@dataclass(frozen=True)
class Module:
    """One module of the program: its dotted name and its text."""

    name: str
    source: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.source)))

    @cached_property
    def imports(self) -> list[tuple[str, str | None, int]]:
        """The imported module, the name taken from it, if any, and the line."""
        found: list[tuple[str, str | None, int]] = []
        skipped = set(_typing_only(self.nodes))
        for node in self.nodes:
            if node in skipped:
                continue
            if isinstance(node, ast.Import):
                found += [(alias.name, None, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                found += [(origin, alias.name, node.lineno) for alias in node.names]
        return found

    @property
    def package(self) -> str:
        return "collectors.bpf" if self.name.startswith("collectors.bpf") else _top(self.name)


Check = Callable[[list[Module]], Iterator[str]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def _top(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def _typing_only(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.body:
                yield from ast.walk(statement)


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: what is documented well is not long."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def _may_import(module: Module, origin: str, name: str | None) -> bool:
    top = _top(origin)
    if module.package == "exporter":
        return True
    if module.package == "collectors.bpf":
        return top in STDLIB or top in {"bcc", "collectors"}
    if module.package == "collectors":
        return top in STDLIB | {"psutil", "pynvml", "collectors"}
    if top == "collectors":
        return _gives_only_facts(origin, name)
    return top == "analysis" or (top in STDLIB and top not in OUTSIDE_WORLD)


def _gives_only_facts(origin: str, name: str | None) -> bool:
    if origin in {"collectors.model", "collectors.rates"}:
        return True
    if origin == "collectors":
        return name in {"model", "rates"}
    return origin != "collectors.base" and bool(SAMPLE_TYPE.fullmatch(name or ""))


@check
def imports_keep_to_the_layers(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for origin, name, line in module.imports:
            if not _may_import(module, origin, name):
                what = f"{origin}.{name}" if name else origin
                yield f"{module.name}:{line} imports {what}, which is not for {module.package}"


@check
def libraries_stay_in_their_place(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for origin, _, line in module.imports:
            place = CONFINED.get(_top(origin))
            if place and not re.fullmatch(place, module.name):
                yield f"{module.name}:{line} imports {origin}, which is for {place}"


@check
def collectors_start_no_thread(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if _top(module.name) != "collectors":
            continue
        for origin, name, line in module.imports:
            if _top(origin) in THREAD_MAKERS or (origin, name) == ("threading", "Thread"):
                yield f"{module.name}:{line} imports {origin}: a collector starts no thread"
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "threading.Thread":
                yield f"{module.name}:{node.lineno} a collector starts no thread"


@check
def analysis_calls_nothing_outside(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.package != "analysis":
            continue
        for node in module.nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) in OUTSIDE_CALLS:
                yield f"{module.name}:{node.lineno} analysis is pure: {ast.unparse(node.func)}()"


@check
def imports_never_cycle(modules: list[Module]) -> Iterator[str]:
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {module.name: set() for module in modules}
    for module in modules:
        for origin, name, _ in module.imports:
            target = f"{origin}.{name}" if f"{origin}.{name}" in names else origin
            graph[module.name] |= {target} & names
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " -> ".join(error.args[1])


@check
def modules_are_short(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if (lines := len(module.source.splitlines())) > MODULE_LINES:
            yield f"{module.name} has {lines} lines, more than {MODULE_LINES}"


@check
def functions_are_short(modules: list[Module]) -> Iterator[str]:
    lengths = [
        (_length(function), f"{module.name}:{function.lineno} {function.name}")
        for module in modules
        for function in _functions(module)
    ]
    yield from (
        f"{where} has {lines} lines, more than {FUNCTION_LINES}"
        for lines, where in lengths
        if lines > FUNCTION_LINES
    )
    sizes = sorted(lines for lines, _ in lengths) or [0]
    if (median := statistics.median(sizes)) >= FUNCTION_MEDIAN:
        yield f"the median function has {median} lines, not less than {FUNCTION_MEDIAN}"
    if (p90 := sizes[int(0.9 * len(sizes))]) > FUNCTION_P90:
        yield f"one function in ten has {p90} lines or more, more than {FUNCTION_P90}"


@check
def broad_excepts_are_the_two_fences(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        lines = [node.lineno for node in module.nodes if _catches_all(node)]
        for line in lines[1 if module.name in FENCES else 0 :]:
            yield f"{module.name}:{line} catches everything"


def _catches_all(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        caught = [node.type]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = [*node.args]
    else:
        return False
    caught = [part for kind in caught for part in getattr(kind, "elts", [kind])]
    broad = {"Exception", "BaseException"}
    return any(kind is None or ast.unparse(kind) in broad for kind in caught)


@check
def wall_time_is_read_in_few_places(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.name in WALL_CLOCKS:
            continue
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and WALL_CLOCK.fullmatch(ast.unparse(node)):
                yield f"{module.name}:{node.lineno} reads the wall clock: {ast.unparse(node)}"
        for origin, name, line in module.imports:
            if origin == "time" and name in {"time", "time_ns"}:
                yield f"{module.name}:{line} reads the wall clock: time.{name}"


@check
def what_is_public_is_documented(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        tree = ast.parse(module.source)
        for node in _public(tree):
            if not ast.get_docstring(node):
                name = getattr(node, "name", "the module")
                yield f"{module.name}:{getattr(node, 'lineno', 1)} {name} has no docstring"


def _public(
    parent: ast.Module | ast.ClassDef,
) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef]:
    yield parent
    for node in parent.body:
        if getattr(node, "name", "_").startswith("_") or _is_override(node):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _public(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _is_override(node: ast.AST) -> bool:
    decorators = [ast.unparse(each).split(".")[-1] for each in getattr(node, "decorator_list", [])]
    return bool({"override", "overload", "setter"} & set(decorators))


@check
def no_path_of_somebodys_machine(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for number, line in enumerate(module.source.splitlines(), 1):
            if PRIVATE_PATH.search(line):
                yield f"{module.name}:{number} names a path of one machine: {line.strip()}"


def program() -> list[Module]:
    files = [file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py")]
    return [Module(_dotted(file), file.read_text(encoding="utf-8")) for file in sorted(files)]


def _dotted(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.__name__)
def test_the_program(rule: Check) -> None:
    complaints = list(rule(program()))
    assert not complaints, "\n".join(complaints)


def test_files_beside_the_program_name_no_path_of_somebodys_machine() -> None:
    names = ["dev", "pyproject.toml", "requirements.lock", "requirements-dev.lock", ".ci/run"]
    files = [Module(name, (REPOSITORY / name).read_text(encoding="utf-8")) for name in names]
    assert list(no_path_of_somebodys_machine(files)) == []
    assert not [
        file.name
        for file in files
        if re.search(r"--(extra-)?index-url|--find-links|file:", file.source)
    ]


def _function(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


BAD: list[tuple[Check, str, str]] = [
    (imports_keep_to_the_layers, "collectors.cpu", "import analysis.model"),
    (imports_keep_to_the_layers, "collectors.cpu", "from exporter import config"),
    (imports_keep_to_the_layers, "collectors.cpu", "import requests"),
    (imports_keep_to_the_layers, "collectors.cpu", "from prometheus_client import Gauge"),
    (imports_keep_to_the_layers, "collectors.cpu", "from . import model"),
    (imports_keep_to_the_layers, "collectors.bpf.runqlat", "import psutil"),
    (imports_keep_to_the_layers, "collectors.bpf.runqlat", "import yaml"),
    (imports_keep_to_the_layers, "analysis.score", "import os.path"),
    (imports_keep_to_the_layers, "analysis.score", "def f():\n    from pathlib import Path"),
    (imports_keep_to_the_layers, "analysis.score", "from time import monotonic"),
    (imports_keep_to_the_layers, "analysis.score", "import psutil"),
    (imports_keep_to_the_layers, "analysis.score", "from exporter import config"),
    (imports_keep_to_the_layers, "analysis.rules.cpu", "from collectors.cpu import parse"),
    (imports_keep_to_the_layers, "analysis.rules.cpu", "from collectors.base import Context"),
    (imports_keep_to_the_layers, "analysis.rules.cpu", "import collectors.cpu"),
    (imports_keep_to_the_layers, "analysis.rules.cpu", "from collectors import cpu"),
    (libraries_stay_in_their_place, "exporter.web", "import prometheus_client"),
    (libraries_stay_in_their_place, "exporter.app", "from apscheduler import job"),
    (libraries_stay_in_their_place, "exporter.metrics", "import waitress.server"),
    (libraries_stay_in_their_place, "exporter.app", "from bcc import BPF"),
    (libraries_stay_in_their_place, "collectors.bpf.runqlat", "def f():\n    import bcc"),
    (collectors_start_no_thread, "collectors.cpu", "import threading\nthreading.Thread()"),
    (collectors_start_no_thread, "collectors.cpu", "from threading import Thread"),
    (collectors_start_no_thread, "collectors.cpu", "from concurrent import futures"),
    (analysis_calls_nothing_outside, "analysis.score", "open('/proc/stat')"),
    (analysis_calls_nothing_outside, "analysis.score", "def f():\n    print(1)"),
    (modules_are_short, "analysis.score", "x = 1\n" * (MODULE_LINES + 1)),
    (functions_are_short, "analysis.score", _function(2) * 20 + _function(FUNCTION_LINES + 1)),
    (functions_are_short, "analysis.score", _function(FUNCTION_MEDIAN)),
    (functions_are_short, "analysis.score", _function(2) * 8 + _function(FUNCTION_P90 + 1) * 2),
    (broad_excepts_are_the_two_fences, "exporter.web", "try:\n    f()\nexcept Exception:\n    g()"),
    (broad_excepts_are_the_two_fences, "exporter.web", "try:\n    f()\nexcept:\n    g()"),
    (
        broad_excepts_are_the_two_fences,
        "exporter.web",
        "try:\n    f()\nexcept (OSError, BaseException):\n    g()",
    ),
    (
        broad_excepts_are_the_two_fences,
        "exporter.web",
        "with contextlib.suppress(Exception):\n    f()",
    ),
    (
        broad_excepts_are_the_two_fences,
        "exporter.__main__",
        "try:\n    f()\nexcept Exception:\n    g()\n" * 2,
    ),
    (wall_time_is_read_in_few_places, "collectors.cpu", "time.time()"),
    (wall_time_is_read_in_few_places, "collectors.cpu", "from time import time_ns"),
    (wall_time_is_read_in_few_places, "analysis.score", "datetime.now(UTC)"),
    (wall_time_is_read_in_few_places, "exporter.store", "f(key=datetime.datetime.utcnow)"),
    (what_is_public_is_documented, "exporter.web", "x = 1"),
    (what_is_public_is_documented, "exporter.web", "'''Web.'''\ndef f():\n    pass"),
    (
        what_is_public_is_documented,
        "exporter.web",
        "'''Web.'''\nclass A:\n    '''A.'''\n    def f(self):\n        pass",
    ),
    (no_path_of_somebodys_machine, "exporter.web", "ROOT = '/home/ann/sysdx'"),
    (no_path_of_somebodys_machine, "exporter.web", "# see /root/notes"),
]
GOOD = {
    "collectors.cpu": """
        '''CPUs.'''
        import os
        import psutil
        from threading import Event
        from collectors.base import Context
        """,
    "collectors.bpf.worker": """
        '''Worker.'''
        def load():
            '''Import late.'''
            import bcc
        """,
    "analysis.rules.cpu": """
        '''Rules.'''
        from collections.abc import Mapping
        from datetime import datetime
        from typing import TYPE_CHECKING
        from collectors.cpu import CpuSample
        from collectors.rates import delta
        if TYPE_CHECKING:
            from pathlib import Path
        def rule(since: datetime) -> bool:
            '''Tell.'''
            return since.isoformat() != "/proc/1/root/etc"
        """,
    "exporter.orchestrator": """
        '''Orchestrator.'''
        import time
        from contextlib import suppress
        def fence():
            '''Isolate one collector.'''
            try:
                return time.monotonic()
            except Exception:
                with suppress(OSError):
                    pass
        """,
}


@pytest.mark.parametrize(
    ("rule", "name", "source"), BAD, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_check_complains_about_what_it_forbids(rule: Check, name: str, source: str) -> None:
    assert len(list(rule([Module(name, source)]))) == 1


def test_a_cycle_is_found_through_a_package_too() -> None:
    first = Module("exporter.a", "from exporter import b")
    second = Module("exporter.b", "def f():\n    import exporter.a")
    assert len(list(imports_never_cycle([first, second]))) == 1
    assert list(imports_never_cycle([first, Module("exporter.b", "import exporter.c")])) == []


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.__name__)
def test_no_check_complains_about_good_modules(rule: Check) -> None:
    modules = [Module(name, dedent(source)) for name, source in GOOD.items()]
    assert list(rule(modules)) == []


def test_every_check_is_shown_to_complain() -> None:
    assert {rule for rule, _, _ in BAD} | {imports_never_cycle} == set(CHECKS)
