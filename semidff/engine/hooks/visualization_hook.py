"""Pictures of what stage two learns, for TensorBoard."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from semidff.models.semi_dff import SemiDFF
from semidff.visualization.distillation_sheet import draw_sheet
from semidff.visualization.propagation_view import PairView, view_pair


@HOOKS.register_module()
class DistillationVisualizationHook(Hook):
    """Adds a sheet of pictures of the batch's first pair to the runner's visualizer.

    Key frame and current frame, the teacher's and the student's boxes on the latter, feature flow,
    scale field, and the key frame's, the propagated and the teacher's features, these three in the
    same colors. The sheet goes wherever the visualizer's backends write: ``TensorboardVisBackend``
    (tag ``distillation``), ``LocalVisBackend`` (``vis_data/vis_image/distillation_<N>.png``).

    The training does not notice: no gradients, random states and modes put back. Other models than
    :class:`~semidff.models.semi_dff.SemiDFF` have nothing to show and are left alone.

    Args:
        interval (int): Iterations from one sheet to the next; the first comes after the very first
            iteration, to show the start. 0 switches the hook off.
        score_thr (float): Boxes with lower scores are not drawn.
        max_boxes (int): At most this many boxes, the best ones, are drawn on a frame.
    """

    def __init__(self, interval: int = 1000, score_thr: float = 0.3, max_boxes: int = 20) -> None:
        if interval < 0:
            raise ValueError(
                f'interval is {interval}; it must be a number of iterations, 0 or more'
            )
        self.interval = interval
        self.score_thr = score_thr
        self.max_boxes = max_boxes

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Draws every ``interval`` iterations."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if self.interval == 0 or not isinstance(model, SemiDFF):
            return
        if runner.iter == 0 or self.every_n_train_iters(runner, self.interval):
            sample = data_batch['data_samples'][0]
            with undisturbed(model):
                view = view_distillation(model, data_batch['inputs'][0], sample)
            names = tuple(str(sample.get(key, '')) for key in ('key_frame_id', 'frame_id'))
            classes = tuple((runner.visualizer.dataset_meta or {}).get('classes') or ())
            sheet = draw_sheet(view, names, classes, self.score_thr, self.max_boxes)
            runner.visualizer.add_image('distillation', sheet, runner.iter + 1)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes and random states are as before.

    Args:
        model (nn.Module): The model.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.no_grad(), torch.random.fork_rng(gpus):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode  # each its own: train() would wake what the model keeps asleep


def view_distillation(model: SemiDFF, frames: Tensor, sample: DetDataSample) -> PairView:
    """Lets student and teacher look at one pair.

    Args:
        model (SemiDFF): In evaluation mode.
        frames (Tensor): Key and current frame as the data loader gives them, (2, 3, H, W) uint8.
        sample (DetDataSample): Data sample of the current frame; it is not changed.

    Returns:
        PairView: What there is to draw.
    """
    sample = _in_network_pixels(sample)
    data = model.data_preprocessor(dict(inputs=[frames], data_samples=[sample]), False)
    key, current = data['inputs'].unbind(1)
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()
    return view_pair(model, key, current, data['data_samples'][0], pictures, model.teacher)


def _in_network_pixels(sample: DetDataSample) -> DetDataSample:
    """A copy whose predictions are not mapped back to the original image."""
    sample = copy.deepcopy(sample)
    sample.set_metainfo(dict(scale_factor=(1.0, 1.0), ori_shape=sample.img_shape))
    return sample
