"""Names under which a model can be served."""

import pytest

from predictor.errors import BadSetting
from predictor.repository.names import check_name, is_name


@pytest.mark.parametrize("name", ["m", "BAAI/bge-m3", "a/b/c", "ready", "m:2", "Ünï", "a" * 256])
def test_names_that_can_be_served(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "/a", "a/", "a//b", "a/../b", ".", "..", "a\n", "a\0", "a" * 257,
     "m/ready", "m/infer", "m/versions/1", "m/embeddings"],
)  # fmt: skip
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(BadSetting, match=r"--model_name .* cannot be served: a model's name has"):
        check_name("--model_name", name)
