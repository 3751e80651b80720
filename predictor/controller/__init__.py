"""The process that carries rollouts out: looks at the cluster, asks `predictor.rollout`, acts."""
