"""The model families that ship with compactface."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "shipped_models"
_CHECKOUT = Path(__file__).parents[2] / "deploy" / "models"


def shipped_models() -> Path:
    """The folder of model families in the wheel, or in the checkout."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
