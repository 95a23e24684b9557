"""Plot accuracy over speed: test checkpoints at several key-frame intervals (DFF Figure 3).

Evaluations run one after another; then the speed of all is measured in turn, in one process. The
same command continues after an interruption. Finished evaluations are kept as long as config,
checkpoint and settings are the same.
"""

from functools import partial

from semidff.experiments.main import add_run_arguments, curve_main, run_continuable
from semidff.inference.methods import METHODS
from semidff.utils.arguments import ToolParser, add_key_intervals

if __name__ == '__main__':
    parser = ToolParser(description=__doc__)
    add_run_arguments(parser, 'as in tools/test.py (default: propagate)')
    add_key_intervals(parser, [1, 2, 5, 10, 15, 20], 'a key frame every L frames')
    run_continuable(partial(curve_main, methods=list(METHODS.module_dict)), parser.parse_args())
