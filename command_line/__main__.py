"""The program `compactface`, also as `python -m command_line`."""

import sys

_MODULES = {
    *("grpc_health", "numpy", "PIL", "pydantic", "pydantic_core", "pydantic_settings"),
    *("rich", "structlog", "typer"),
}
"""Modules of the extra `cli`, which `pip install compactface` alone does not install."""


def main() -> None:
    """Run the program, or print which extra to install."""
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
