"""Console commands ``semidff-...``, which are also the files of tools/: each calls a function of the package."""

from collections.abc import Callable
from functools import partial

from semidff.utils.command_line import run

FUNCTIONS: dict[str, str | dict[str, str]] = dict(
    train='semidff.apis.runs.train',
    test='semidff.apis.runs.test',
    convert_checkpoint=dict(
        mxnet='semidff.converters.mxnet.checkpoint.convert_file',
        join='semidff.converters.fit.join_checkpoints',
    ),
    convert_dataset={
        'imagenet-vid': 'semidff.converters.ilsvrc.convert_vid',
        'imagenet-det': 'semidff.converters.ilsvrc.convert_det',
        'cityscapes': 'semidff.converters.cityscapes.convert_cityscapes',
    },
    demo='semidff.apis.detect.detect',
    eval_detections='semidff.evaluation.vid_evaluator.evaluate_detections_file',
    export_onnx='semidff.apis.export.export_detector',
    adapt='semidff.apis.adaptation.adapt',
    operating_points='semidff.apis.points.operating_points',
    speed='semidff.apis.points.speed',
    make_synthetic='semidff.synthetic.build.make_synthetic',
    complexity='semidff.points.complexity.report_complexity',
    fit_adaptive='semidff.apis.propagation.fit_schedule',
    show_propagation='semidff.apis.propagation.show_propagation',
    tables='semidff.points.experiment_tables.make_tables',
)
_TRAIN = ('train', 'adapt')


def __getattr__(name: str) -> Callable[[], None]:
    """Return a command without arguments, which has those of the process."""
    if name not in FUNCTIONS:
        raise AttributeError(name)
    return partial(run, FUNCTIONS[name], name in _TRAIN)
