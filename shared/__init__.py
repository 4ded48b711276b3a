"""Code shared by the services, training and evaluation."""

import os

# ONNX Runtime sends telemetry unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# gRPC's core would write its own lines to standard error between the JSON log. Relevant errors
# arrive as the status of a call. To see its output, set GRPC_VERBOSITY=error or debug.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
