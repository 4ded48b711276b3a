"""The model directory `<models>/<family>/<version>/`: verified on load, written atomically."""

from shared.model_directory.configs import (
    COSFACE_112X96,
    AlignmentTemplate,
    CodecConfig,
    CodecSpec,
    CrowdConfig,
    ExtractorConfig,
    InputNormalisation,
    LengthConfig,
    OnnxConfig,
    QualityConfig,
    Scale,
    Sphere20Config,
)
from shared.model_directory.load import MANIFEST_FILE, ModelDirectory, current_version
from shared.model_directory.manifest import (
    COMPNET_FILE,
    NUISANCE_FILE,
    ONNX_FILE,
    QUALITY_FILE,
    RECNET_FILE,
    UNCOMPRESSED,
    Manifest,
    ModelDescription,
    codec_file,
    expected_files,
)
from shared.model_directory.shipped import shipped_models
from shared.model_directory.write import (
    publish_results,
    set_current,
    without_carried_compnets,
    write_model_directory,
)

__all__ = [
    "COMPNET_FILE",
    "COSFACE_112X96",
    "MANIFEST_FILE",
    "NUISANCE_FILE",
    "ONNX_FILE",
    "QUALITY_FILE",
    "RECNET_FILE",
    "UNCOMPRESSED",
    "AlignmentTemplate",
    "CodecConfig",
    "CodecSpec",
    "CrowdConfig",
    "ExtractorConfig",
    "InputNormalisation",
    "LengthConfig",
    "Manifest",
    "ModelDescription",
    "ModelDirectory",
    "OnnxConfig",
    "QualityConfig",
    "Scale",
    "Sphere20Config",
    "codec_file",
    "current_version",
    "expected_files",
    "publish_results",
    "set_current",
    "shipped_models",
    "without_carried_compnets",
    "write_model_directory",
]
