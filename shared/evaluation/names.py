"""Names of judges and codecs in results."""

OWN = "own"
"""The judge that is the model's own extractor on RecNet's output, as in the recognizer."""

REFERENCE = "reference"
"""The extractor before tuning on reconstructions; on uncompressed crops it measures A."""

UNSEEN = "unseen"
"""The judge that no trained weight depends on."""

OURS = "compactface"
"""The codec of compact maps."""

NO_CODEC = "none"
"""The pseudo-codec of uncompressed crops."""

TEMPLATE = "template"
"""The pseudo-codec of embeddings that a camera computes and sends in few bits."""
