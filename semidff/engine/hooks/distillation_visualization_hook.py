"""Pictures of the distillation for TensorBoard."""

import copy

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from semidff.checkpoints.building import undisturbed, unwrapped
from semidff.models.semi_dff import SemiDFF
from semidff.visualization.propagation import (
    PairView,
    draw_propagation,
    to_array,
    view_pair,
)


@HOOKS.register_module()
class DistillationVisualizationHook(Hook):
    """Draw the propagation of the batch's first pair with the runner's visualizer.

    The figure is that of ``tools/analysis/show_propagation.py``, see
    :func:`~semidff.visualization.propagation.draw_propagation`. The visualizer's backends write it:
    ``TensorboardVisBackend`` (tag ``distillation``), ``LocalVisBackend``
    (``vis_data/vis_image/distillation_<N>.png``), after the first iteration and each ``interval``
    iterations, 0 for never.

    The training is not affected: no gradients; random states and modes are restored. Models other
    than :class:`~semidff.models.semi_dff.SemiDFF` are ignored.
    """

    def __init__(self, interval: int = 1000, score_thr: float = 0.3) -> None:
        self.interval = interval
        self.score_thr = score_thr

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        model = unwrapped(runner.model)
        if self.interval == 0 or not isinstance(model, SemiDFF):
            return
        if runner.iter == 0 or self.every_n_train_iters(runner, self.interval):
            sample = data_batch['data_samples'][0]
            with undisturbed(model):
                view = view_distillation(model, data_batch['inputs'][0], sample)
            classes = tuple((runner.visualizer.dataset_meta or {}).get('classes') or ())
            picture = to_array(draw_propagation([view], classes, self.score_thr))
            runner.visualizer.add_image('distillation', picture, runner.iter + 1)


def view_distillation(model: SemiDFF, frames: Tensor, sample: DetDataSample) -> PairView:
    """Propagate a training pair with the student in evaluation mode; compare it with the teacher.

    Frames are those of the data loader, (2, 3, H, W) uint8, or a triplet; the sample is not
    modified.
    """
    sample, frames = copy.deepcopy(sample), frames[[0, -1]]
    # detections in pixels of the network's input, not of the original image
    whole = dict(scale_factor=(1.0, 1.0), ori_shape=sample.img_shape, border=(0,) * 4)
    sample.set_metainfo(whole)
    data = model.data_preprocessor(dict(inputs=[frames], data_samples=[sample]), False)
    key, current = data['inputs'].unbind(1)
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()
    return view_pair(model, key, current, data['data_samples'][0], pictures, model.teacher.spatial)
