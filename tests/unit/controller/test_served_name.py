"""The vectors are asked for by the name that the servers know."""

from predictor.controller.observe import served_name


def test_the_last_flag_counts_and_else_the_service() -> None:
    flags = ["--model_name=a", "--variant=auto", "--model_name=minilm"]
    for args, name in ((flags, "minilm"), ([], "emb"), (None, "emb")):
        model = {"storageUri": "pvc://m/1", "args": args}
        isvc = {"metadata": {"name": "emb"}, "spec": {"predictor": {"model": model}}}
        assert served_name(isvc) == name
    bare = {"metadata": {"name": "emb"}, "spec": {"predictor": {}}}
    assert served_name(bare) == "emb"
