"""Substring search in names in SQL, ignoring case and compatibility variants.

SQLite uses `texts.folded` as the SQL function `folded`. PostgreSQL uses its own normalization, and
ignores the case of ASCII letters only.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, func, literal, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from recognizer_service.gallery.texts import folded


class name_contains(FunctionElement[bool]):  # noqa: N801 - an SQL function
    """Whether the first text contains the second."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, name: ColumnElement[str], part: str) -> None:
        super().__init__(name, literal(part), literal(folded(part)))


@compiles(name_contains, "sqlite")
def _in_sqlite(element: name_contains, compiler: SQLCompiler, **options: Any) -> str:
    name, _, folded_part = element.clauses
    return compiler.process(func.instr(func.folded(name), folded_part) > 0, **options)


@compiles(name_contains, "postgresql")
def _in_postgres(element: name_contains, compiler: SQLCompiler, **options: Any) -> str:
    name, part, _ = (func.lower(func.normalize(clause, text("NFKC"))) for clause in element.clauses)
    return compiler.process(func.strpos(name, part) > 0, **options)
