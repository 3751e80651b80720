"""Token ids in, vectors out: synchronous, no asyncio, the home of ONNX Runtime and tokenizers."""
