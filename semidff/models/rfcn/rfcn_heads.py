"""R-FCN's heads, whose weights all lie ahead of the post-processing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from torch import Tensor, nn

from semidff.models.spatial.head_family import HEAD_FAMILIES, replaced
from semidff.models.spatial.two_stage_heads import TwoStageHeads

from .rfcn import RFCN, ScoreMaps


@HEAD_FAMILIES.register_module()
class RFCNHeads(TwoStageHeads):
    """Heads of R-FCN; raw outputs are the four :class:`~semidff.models.rfcn.rfcn.ScoreMaps`."""

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(detector, RFCN)

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        maps = inputs if isinstance(inputs, ScoreMaps) else self.detector.score_maps(inputs)
        return maps._asdict()

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> AbstractContextManager:
        return replaced(self.detector, 'extract_feat', ScoreMaps(**raw))
