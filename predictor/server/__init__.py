"""The edge: the only code that knows KServe, HTTP and gRPC."""
