"""What both services, training and evaluation share."""

import os

# ONNX Runtime reports usage to its maker unless told otherwise before its import; a service that
# sees faces reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
