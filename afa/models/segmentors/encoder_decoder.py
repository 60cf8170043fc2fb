"""mmseg's EncoderDecoder, whose heads take the number of their input channels from the backbone."""

from typing import Any

from mmseg.models.segmentors import EncoderDecoder as PlainEncoderDecoder
from mmseg.registry import MODELS
from torch import nn

from afa.models.head_channels import with_channels


@MODELS.register_module(force=True)  # in mmseg's place: nothing else in it differs
class EncoderDecoder(PlainEncoderDecoder):
    """mmseg's EncoderDecoder; ``in_channels`` of its heads may be left out.

    Raises:
        ValueError: if a head does not fit the backbone, or the neck.
    """

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(self._fit(decode_head, "model.decode_head"))

    def _init_auxiliary_head(self, auxiliary_head: Any) -> None:
        place = "model.auxiliary_head"
        if isinstance(auxiliary_head, (list, tuple)):
            heads = enumerate(auxiliary_head)
            auxiliary_head = [self._fit(head, f"{place}[{i}]") for i, head in heads]
        elif auxiliary_head is not None:
            auxiliary_head = self._fit(auxiliary_head, place)
        super()._init_auxiliary_head(auxiliary_head)

    def _fit(self, head: dict, place: str) -> dict:
        encoder = nn.Sequential(self.backbone, self.neck) if self.with_neck else self.backbone
        return with_channels(head, place, encoder)
