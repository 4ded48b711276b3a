"""The program `compactface`, also as `python -m command_line`."""

import sys

_MODULES = {
    *("grpc_health", "numpy", "PIL", "pydantic", "pydantic_core", "pydantic_settings"),
    *("rich", "structlog", "typer"),
}
"""Of the extra `cli`, which `pip install compactface` alone does not bring."""


def main() -> None:
    """Run it, or say in one sentence what to install."""
    try:
        from command_line.main import app
    except ModuleNotFoundError as missing:
        if missing.name not in _MODULES:
            raise
        sys.exit(
            f"the program compactface needs {missing.name}; install it: "
            "pip install 'compactface[cli]'"
        )
    app(prog_name="compactface")


if __name__ == "__main__":
    main()
