"""What cannot be asked of a shadow."""

import pytest

from predictor.rollout.spec import BadRollout, Spec, read_spec


def read(**shadow: object) -> Spec:
    target = {"name": "v2", "storageUri": "pvc://models/v2"}
    return read_spec({"spec": {"inferenceService": "m", "target": target, "shadow": shadow}})


@pytest.mark.parametrize(
    "shadow",
    [
        {"share": 0.0},
        {"share": 1.5},
        {"minTexts": 0},
        {"hold": "soon"},
        {"hold": "1h"},  # as long as a rollout without news waits
    ],
)
def test_a_malformed_shadow_specification_is_refused(shadow: dict[str, object]) -> None:
    with pytest.raises(BadRollout):
        read(**shadow)


def test_a_shadow_specification_is_read() -> None:
    assert read(share=1.0, hold="59m", minTexts=1).shadow is not None
    assert read().shadow is not None
