"""The server measured beside its peers: same cores, same client, same texts, interleaved."""
