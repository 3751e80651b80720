"""The process that carries out rollouts: it observes, calls `predictor.rollout`, and applies."""
