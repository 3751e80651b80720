"""A stand-in for KServe's controller, in Standard mode only.

KServe itself is not on the test cluster; without it an InferenceService is a piece of YAML that
nothing looks at. This makes out of it what KServe makes, so that pods, services, routes and
autoscalers are real. It reproduces what was read in KServe's source (kserve/kserve at aaac4e294d,
August 2026; paths in comments are below `pkg/`) and seen on a live cluster, faults included: the
Service of a predictor that is gone is deleted before the route stops naming it.

What it does not have: webhooks (the charts' own checks stand for them), Knative mode,
transformers, explainers, several nodes, storage other than `pvc://`, finalizers, autoscalers of
KServe's own (class `external` and `none` only, which is what the chart renders).
"""
