"""V2 over gRPC: KServe's protobuf service and port, with our own handlers."""

from predictor.server.grpc_server.listener import GrpcServer

__all__ = ["GrpcServer"]
