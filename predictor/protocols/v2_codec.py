"""What V2 over REST and V2 over gRPC share as codecs: forms by task, and how errors are valued."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from predictor.errors import PredictorError
from predictor.protocols.codec import HTTP_STATUS, Form
from predictor.protocols.v2_tensors import TensorForm, choose_form
from predictor.types import ProtocolName

TransportForm = TypeVar("TransportForm", bound=Form)  # type: ignore[type-arg]


class TensorCodec(Generic[TransportForm]):
    """V2's inference route on one transport: the tensors say which task of the model is meant."""

    name: ProtocolName

    def __init__(
        self, tensors: Mapping[str, TensorForm], forms: Mapping[str, TransportForm]
    ) -> None:
        """Both by the name of their task; forms: the tensors as this transport writes them."""
        self._tensors = dict(tensors)
        self._forms = dict(forms)

    @property
    def tasks(self) -> Sequence[str]:
        """See `Codec.tasks`."""
        return tuple(self._forms)

    def form_for(self, tasks: Sequence[str], outputs: Sequence[str]) -> TransportForm:
        """The form of the task that is meant; see `choose_form`."""
        return self._forms[choose_form(self._tensors, tasks, outputs).task]

    def status(self, error: PredictorError) -> int:
        """See `Codec.status`."""
        return HTTP_STATUS[error.code]
