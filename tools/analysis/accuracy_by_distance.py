"""Plot accuracy over the distance from the key frame: test checkpoints with protocol pairs (DFF 5.2).

Every labeled frame is predicted from itself and from each of the L - 1 frames before it. Evaluations run
one after another. The same command continues after an interruption. Finished evaluations are kept
as long as config, checkpoint and settings are the same.
"""

from functools import partial

from semidff.experiments.main import add_run_arguments, distance_main, run_continuable
from semidff.inference.methods import pairwise_methods
from semidff.utils.arguments import ToolParser

if __name__ == '__main__':
    parser = ToolParser(description=__doc__)
    add_run_arguments(parser, 'propagate (default), copy, sff-fast or sff-slow')
    parser.add_number('--key-interval', 10, 'distances are 0 ... L-1 frames', metavar='L')
    run_continuable(partial(distance_main, pairwise=pairwise_methods()), parser.parse_args())
