"""The reasons of errors, read from the code that raises them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from manual.pages import ROOT

_PARTS = {  # packages whose errors reach users, and what users call them; the first that fits
    "camera_gateway": "camera gateway",
    "command_line/demo": "demo",
    "command_line": "command line",
    "encoder_service": "encoder",
    "recognizer_service": "recognizer",
    "web_gateway": "web gateway",
    "shared/compactface/v1": None,
    "shared/compactface/client": "Python client",
    "shared/evaluation": "evaluation",
    "shared/training": "training",
    "shared": "",
}
_PROBLEM = "Problem"
_REPORTS = {"LeftOut": "", "Fault": "", "_Broken": ""}
"""Reports with a reason that are no exceptions: of files, and of broken connections in the log."""

_COMPOSED = {  # reasons that the code puts together: of which part, and by what is fixed of them
    ("recognizer", "…_NOT_FOUND"): ("COLLECTION", "SUBJECT", "FACE", "SIGHTING", "STRANGER"),
    ("recognizer", "INVALID_…"): ("PAGE_TOKEN", "RESUME_TOKEN"),
    ("web gateway", "TOO_MANY_…"): ("REQUESTS", "WATCHERS"),
    ("", "TOO_MANY_…"): ("REQUESTS", "STREAMS", "CALLS", "INCOMPLETE_REQUESTS"),
}


@dataclass(frozen=True, slots=True)
class Raised:
    """A place that raises an error, or reports one.

    Attributes:
        reason: UPPER_SNAKE_CASE.
        code: name of the `google.rpc.Code`; "": none.
        status: HTTP status, for errors of the web gateway alone; 0: see `code`.
        message: the message, with "…" for values; "": made elsewhere.
        part: what raises it, in words; "": code that several parts share.
    """

    reason: str
    code: str
    status: int
    message: str
    part: str


def raised() -> list[Raised]:
    """All places in the code that name a reason, by reason.

    Raises:
        ValueError: the code puts other reasons together than `_COMPOSED` lists.
    """
    modules = [(part, ast.parse(path.read_text(encoding="utf-8"))) for path, part in _modules()]
    codes = _codes([tree for _, tree in modules])
    named = [each for part, tree in modules for each in _in_module(tree, part, codes)]
    composed = {(each.part, each.reason) for each in named if "…" in each.reason}
    if composed != set(_COMPOSED):
        raise ValueError(f"the code puts {composed} together, and {set(_COMPOSED)} are known here")
    found = {
        replace(each, reason=each.reason.replace("…", words))
        for each in named
        for words in _COMPOSED.get((each.part, each.reason), ("",))
    }
    return sorted(found, key=lambda each: (each.reason, each.part, each.message))


def _modules() -> Iterator[tuple[Path, str]]:
    for package in sorted({name.partition("/")[0] for name in _PARTS}):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            part = next(words for name, words in _PARTS.items() if place.startswith(name))
            if part is not None:
                yield path, part


def _codes(trees: list[ast.Module]) -> dict[str, str]:
    """The status code of every error class; a class without one has that of its base."""
    classes = {
        node.name: node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def code(name: str) -> str | None:
        if name not in classes:
            return None
        for line in classes[name].body:
            if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(
                line.value, ast.Constant
            ):
                target = line.targets[0] if isinstance(line, ast.Assign) else line.target
                if ast.unparse(target) == "code":
                    return str(line.value.value)
        inherited = (code(_name(base)) for base in classes[name].bases)
        return next((found for found in inherited if found), None)

    found = {name: code(name) for name in classes}
    return {name: of for name, of in found.items() if of} | _REPORTS | {_PROBLEM: ""}


def _in_module(tree: ast.Module, part: str, codes: dict[str, str]) -> Iterator[Raised]:
    handing_on = _handing_on(tree, codes)
    own = {  # calls of super().__init__ in error classes
        id(call): node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in codes
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = own.get(id(node), _name(node.func))
        error = name if name in codes else handing_on.get(name)
        if error is None:
            continue
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        at = next((place for place, value in enumerate(values) if _reasons(value)), None)
        if at is not None:
            texts = (_text(value) for value in values[at + 1 :])
            message = next((text for text in texts if " " in text), "")
            for reason in _reasons(values[at]):
                yield Raised(reason, codes[error], _status(values), message, part)


def _handing_on(tree: ast.Module, codes: dict[str, str]) -> dict[str, str]:
    """Functions that pass a parameter on as the reason, and the class of their error.

    A limit on places (`Places`) is told the reason of its error.
    """
    found = {"Places": "Overloaded"}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        parameters = {each.arg for each in (*function.args.args, *function.args.kwonlyargs)}
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and _name(call.func) in codes:
                values = [*call.args, *(keyword.value for keyword in call.keywords)]
                if any(isinstance(each, ast.Name) and each.id in parameters for each in values):
                    found[function.name] = _name(call.func)
    return found


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _reasons(value: ast.expr) -> list[str]:
    """The reasons that an argument can be; with "…" if the code puts it together."""
    if isinstance(value, ast.IfExp):
        return [*_reasons(value.body), *_reasons(value.orelse)]
    if isinstance(value, ast.BoolOp):
        return [reason for operand in value.values for reason in _reasons(operand)]
    text = _text(value)
    letters = text.replace("_", "").replace("…", "")
    return [text] if letters.isalnum() and letters.isupper() else []


def _text(value: ast.expr) -> str:
    """A message as users read it, with "…" for values."""
    if isinstance(value, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in value.values
        )
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return ""


def _status(values: list[ast.expr]) -> int:
    """The status of an HTTP problem."""
    for value in values:
        if isinstance(value, ast.Attribute) and ast.unparse(value.value) == "HTTPStatus":
            return HTTPStatus[value.attr]
    return 0
