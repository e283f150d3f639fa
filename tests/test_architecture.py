"""Facts, judgments and presentation stay apart, and everything stays small."""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("collectors", "analysis", "exporter")
FILES = [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]

LINES = 400
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 12
# One collector is fenced off, and main has the last resort.
BROAD_EXCEPT = {"exporter/orchestrator.py", "exporter/__main__.py"}
# Who may ask for the time of day: the clock itself, and the schedule it is about.
WALL_CLOCK = {"exporter/clock.py", "exporter/scheduler.py", "exporter/timetable.py"}
THIRD_PARTY = {
    "collectors": {"psutil", "pynvml"},
    "analysis": set(),
    "exporter": {"apscheduler", "prometheus_client", "pydantic", "pydantic_core", "rich",
                 "waitress", "yaml", "annotated_types"},
}  # fmt: skip
ONLY_IN = {
    "prometheus_client": ("exporter/metrics",),
    "apscheduler": ("exporter/scheduler", "exporter/timetable"),
    "waitress": ("exporter/web",),
    "rich": ("exporter/progress",),
    "yaml": ("exporter/config",),
    "bcc": ("collectors/bpf/worker",),
}
OWN = {
    "collectors": {"collectors"},
    "analysis": {"analysis", "collectors"},
    "exporter": {"exporter", "analysis", "collectors"},
}
# A judgment reads nothing, waits for nothing and asks for no time.
IMPURE = {
    "io", "os", "pathlib", "random", "select", "signal", "socket", "subprocess", "tempfile",
    "threading", "time", "shutil", "asyncio", "logging",
}  # fmt: skip


def name_of(path):
    return str(path.relative_to(ROOT))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def wrong_imports(name, tree):
    package = name.split("/")[0]
    for module in imports(tree):
        top = module.split(".")[0]
        if top in PACKAGES:
            allowed = top in OWN[package]
        elif top in sys.stdlib_module_names:
            allowed = package != "analysis" or top not in IMPURE
        else:
            allowed = top in THIRD_PARTY[package] and top != "bcc"
        places = ONLY_IN.get(top)
        if places and name.startswith(places):
            allowed = True
        elif places:
            allowed = False
        if package == "collectors" and top in ("threading", "asyncio", "concurrent"):
            allowed = name == "collectors/base.py"  # for the type of an event
        if not allowed:
            yield f"{name} imports {module}"


def broad_excepts(name, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {getattr(kind, "id", None) for kind in kinds}
            if names & {None, "Exception", "BaseException"} and any(
                k is None or isinstance(k, ast.Name) for k in kinds
            ):
                yield f"{name}:{node.lineno}"


def wall_clocks(name, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if text in ("time.time", "datetime.now", "datetime.utcnow", "datetime.today"):
                yield f"{name}:{node.lineno} {text}"


def functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def undocumented(name, tree):
    for node in tree.body:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if (
            isinstance(node, kinds)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            yield f"{name}: {node.name}"


def calls(tree, names):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in names:
            yield f"line {node.lineno}: {node.func.id}()"


def threads_started(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "Thread"]


def cycles(graph):
    done, found = set(), []

    def visit(module, above):
        if module in above:
            found.append([*above[above.index(module) :], module])
        elif module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, [*above, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


TREES = {name_of(p): ast.parse(p.read_text()) for p in FILES}


def check(rule):
    return [problem for name, tree in TREES.items() for problem in rule(name, tree)]


def test_imports_go_one_way():
    assert check(wrong_imports) == []


def test_no_module_imports_itself_in_a_circle():
    names = {n.removesuffix(".py").removesuffix("/__init__").replace("/", "."): t
             for n, t in TREES.items()}  # fmt: skip
    graph = {}
    for name, tree in names.items():
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        graph[name] = {m for n in top for m in imports(ast.Module([n], [])) if m in names}
    # The registries walk their packages; a package is no user of its modules.
    assert cycles(graph) == []


def test_only_two_places_catch_everything():
    found = {line.split(":")[0] for line in check(broad_excepts)}
    assert found <= BROAD_EXCEPT
    assert len(check(broad_excepts)) <= len(BROAD_EXCEPT)


def test_few_ask_for_the_time_of_day():
    assert {line.split(":")[0] for line in check(wall_clocks)} <= WALL_CLOCK


def test_judgments_open_and_print_nothing():
    names = ("open", "print", "input", "exec", "eval")
    trees = {n: t for n, t in TREES.items() if n.startswith("analysis")}
    assert [f"{n} {c}" for n, t in trees.items() for c in calls(t, names)] == []


def test_collectors_start_no_thread():
    assert [n for n, t in TREES.items() if n.startswith("collectors") and threads_started(t)] == []


def test_modules_are_short():
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in FILES}
    assert {n: length for n, length in lengths.items() if length > LINES} == {}


def test_functions_are_short():
    lengths = [(length, f"{n}:{f}") for n, t in TREES.items() for f, length in functions(t)]
    assert [pair for pair in lengths if pair[0] > FUNCTION_LINES] == []
    assert statistics.median(length for length, _ in lengths) <= MEDIAN_FUNCTION_LINES


def test_everything_public_is_described():
    assert check(undocumented) == []


def test_nothing_names_a_developers_machine():
    words = ("/home/", "/Users/", "/work/")
    text = {name_of(p): p.read_text() for p in FILES}
    assert [n for n, content in text.items() if any(w in content for w in words)] == []


@pytest.mark.parametrize(
    ("rule", "name", "bad"),
    [
        (wrong_imports, "collectors/x.py", "import analysis.model"),
        (wrong_imports, "collectors/x.py", "import prometheus_client"),
        (wrong_imports, "collectors/x.py", "import threading"),
        (wrong_imports, "analysis/x.py", "from exporter import clock"),
        (wrong_imports, "analysis/x.py", "import time"),
        (wrong_imports, "analysis/x.py", "def f():\n    import socket"),
        (wrong_imports, "exporter/x.py", "import bcc"),
        (wrong_imports, "exporter/x.py", "from waitress import serve"),
        (broad_excepts, "x.py", "try:\n    f()\nexcept Exception:\n    pass"),
        (broad_excepts, "x.py", "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
        (broad_excepts, "x.py", "try:\n    f()\nexcept:\n    pass"),
        (wall_clocks, "x.py", "import time\ntime.time()"),
        (wall_clocks, "x.py", "key = datetime.now"),
        (undocumented, "x.py", "def public():\n    return 1"),
    ],
)
def test_each_check_sees_what_it_is_for(rule, name, bad):
    assert list(rule(name, ast.parse(bad)))


def test_the_other_checks_see_what_they_are_for():
    assert list(calls(ast.parse("open('x')"), ("open",)))
    assert threads_started(ast.parse("threading.Thread()"))
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not cycles({"a": {"b", "c"}, "b": {"c"}})
