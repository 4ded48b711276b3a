"""The versions in a model directory: which one decodes a codec, which one embeds in a space."""

from collections.abc import Iterator
from pathlib import Path

from shared.errors import InvalidModel
from shared.model_directory import AlignmentTemplate, ModelDirectory
from shared.model_directory.load import MANIFEST_FILE


def model_of_space(models: Path, space: str) -> ModelDirectory | None:
    """A version whose extractor embeds in a space; None if there is none."""
    found = (model for model in _readable(models) if model.manifest.embedding_space == space)
    return next(found, None)


def model_of_codec(
    models: Path, codec_id: str, alignment: AlignmentTemplate
) -> ModelDirectory | None:
    """A version that decodes a codec to crops of an alignment; None if there is none."""
    for model in _readable(models):
        codec_ids = {codec.codec_id for codec in model.manifest.codecs.values()}
        if codec_id in codec_ids and model.manifest.alignment == alignment:
            return model
    return None


def _readable(models: Path) -> Iterator[ModelDirectory]:
    """All versions of all families but those that are damaged."""
    for path in sorted(models.glob(f"*/*/{MANIFEST_FILE}")):
        family, version = path.parts[-3:-1]
        try:
            yield ModelDirectory.load(models, family, version)
        except InvalidModel:
            continue
