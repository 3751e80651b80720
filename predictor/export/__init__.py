"""From a Hugging Face directory to a bundle: graphs built from weights, and proven.

Needs neither torch nor transformers: the packed graph is written node by node, which no exporter
can do, from the safetensors.
"""
