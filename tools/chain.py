"""Former name of run_experiment.py."""

import runpy
import sys
from pathlib import Path

print('tools/chain.py is deprecated, use tools/run_experiment.py', file=sys.stderr)
runpy.run_path(str(Path(__file__).with_name('run_experiment.py')), run_name='__main__')
