"""What both services, training and evaluation share."""

import os

# ONNX Runtime reports usage to its maker unless told otherwise before its import; a service that
# sees faces reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# gRPC's core writes lines of its own to standard error, between ours, which are JSON. What matters
# of them, we are told as the status of a call. To see them set GRPC_VERBOSITY=error, or debug.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
