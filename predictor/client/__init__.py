"""The client of V2 servers, for the command line, shadows and the rollout controller."""
