"""The words that results use for judges, and for crops that went through no codec or ours."""

OWN = "own"
"""The judge that is the model's own extractor, fed by RecNet as in the recognizer."""

REFERENCE = "reference"
"""The best extractor before any tuning on reconstructions; on crops it measures A."""

UNSEEN = "unseen"
"""A network that no trained weight depends on."""

OURS = "compactface"
"""The codec that compact maps are."""

NO_CODEC = "none"
"""The codec of uncompressed crops."""

TEMPLATE = "template"
"""The codec of embeddings that a camera computes and sends in few bits."""
