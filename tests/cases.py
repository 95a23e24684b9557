"""Run a folder of case scripts, and print a table of verdicts: ``python -m tests.cases FOLDER [NAME
...]``.

A case is a folder with a script ``check.py`` or ``repro.py``, which makes its inputs, uses the
package and the tools of this checkout, and exits with 0 (pass), 1 (fail) or another code (the
script itself failed). Failed verdicts are printed below the table. The exit code is 1 unless all
cases pass.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from semidff.utils.tables import text_table

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = {0: 'pass', 1: 'FAIL'}


def run(script: Path, seconds: float) -> tuple[int | None, str]:
    """Return exit code and output of a case; None if it takes too long."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, f'stopped after {seconds:.0f} s'
    return done.returncode, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('names', nargs='*', metavar='NAME', help='cases to run (default: all)')
    parser.add_argument('--timeout', type=float, default=600, help='seconds of a case')
    args = parser.parse_args()
    scripts = {
        script.parent.name: script.resolve()
        for name in ('repro.py', 'check.py')
        for script in sorted(args.folder.glob(f'*/{name}'))
    }
    if unknown := [name for name in args.names if name not in scripts]:
        parser.error(f'{args.folder}: has no case {", ".join(unknown)}')
    rows, failures = [('case', 'verdict', 'seconds')], []
    for name in args.names or sorted(scripts):
        start = time.monotonic()
        code, output = run(scripts[name], args.timeout)
        rows.append((name, VERDICTS.get(code, 'ERROR'), f'{time.monotonic() - start:.0f}'))
        print(*rows[-1], flush=True)
        if code:
            lines = [line for line in output.splitlines() if line.startswith('FAIL')]
            failures += [f'{name}: {line}' for line in lines or output.splitlines()[-5:]]
    print(text_table(rows), *failures, sep='\n')
    sys.exit(any(verdict != 'pass' for _, verdict, _ in rows[1:]))


if __name__ == '__main__':
    main()
