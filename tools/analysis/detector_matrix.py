"""Check which detectors of mmdetection work, at which split point, and what they cost.

Weights are random, trained briefly on two synthetic pictures; nothing is downloaded. The exit code is 1 if
something fails that is not refused with a reason.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from semidff.analysis.detector_matrix import CHECKS, FLOW_WIDTH, SPLITS, examine, onnx_check
from semidff.analysis.matrix_table import failures, markdown
from semidff.analysis.stock_detectors import STOCK, StockDetector, read_stock
from semidff.deployment.export import export_onnx
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.arguments import SIZE, ToolParser, add_device, finite, run_tool
from semidff.utils.atomic_write import atomic_write, write_json
from semidff.utils.progress import track
from semidff.utils.tool_files import OutputFile, ReportFile

TIMED = ('measured', 'end_to_end')
ALL = CHECKS | dict(onnx=onnx_check(export_onnx))


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        '--detectors',
        nargs='+',
        metavar='NAME',
        help='parts of the names of stock configs, or config files (default: all of the table)',
    )
    parser.add_argument(
        '--checks',
        nargs='+',
        choices=list(ALL),
        default=[name for name in ALL if name not in TIMED],
        help=f'columns (default: all but {" and ".join(TIMED)}, which need an idle machine)',
    )
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS, help='rows')
    parser.add_argument('--size', **SIZE, help="input size of the costs (default: the detector's)")
    parser.add_argument('--small', **SIZE, help='input size of the other checks')
    parser.add_argument(
        '--iterations',
        type=int,
        metavar='N',
        help="iterations of the training on two pictures (default: the detector's, 140 for most)",
    )
    parser.add_argument(
        '--flow-width',
        type=finite,
        default=FLOW_WIDTH,
        metavar='W',
        help=f'width of FlowNetS (default: {FLOW_WIDTH})',
    )
    add_device(parser)
    parser.add_argument(
        '--out', type=ReportFile, metavar='FILE', help='results as JSON, continued if it exists'
    )
    parser.add_argument('--again', action='store_true', help='check what --out has already again')
    parser.add_argument('--markdown', type=OutputFile, metavar='FILE', help='write the table')
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> list[StockDetector]:
    """Return the detectors that the options name.

    Raises:
        ValueError: If a name is not part of any stock config's.
    """
    found = []
    for name in args.detectors or ['']:
        matches = [one for one in STOCK if name in one.config]
        if not matches and not Path(name).is_file():
            raise ValueError(f'--detectors {name}: there is no such config file or stock config')
        found += matches or [StockDetector(name)]
    own = {key: tuple(size) for key in ('size', 'small') if (size := getattr(args, key))}
    if args.iterations is not None:
        own['iterations'] = args.iterations
    return [one._replace(**own) for one in dict.fromkeys(found)]


def main(args: argparse.Namespace) -> None:
    keep_freed_memory(args.device)
    stocks = chosen(args)
    results, configs, settings = {}, {}, {}
    if args.out and Path(args.out).exists():
        stored = json.loads(Path(args.out).read_text())
        if 'detectors' not in stored:
            raise ValueError(f'{args.out}: is no report of this tool; give another --out')
        results, configs = stored['detectors'], stored.get('configs', {})
        settings = stored.get('settings', {})
        if (width := stored.get('flow_width', FLOW_WIDTH)) != args.flow_width:
            raise ValueError(f'{args.out}: is of --flow-width {width}; give another --out')
        if (device := stored.get('device', 'cpu')) != args.device:
            raise ValueError(f'{args.out}: is of --device {device}; give another --out')
    for stock in track(stocks, 'checked', len(stocks), 'detectors'):
        text = read_stock(stock.config).pretty_text
        digest = hashlib.sha256(text.encode()).hexdigest()
        if configs.get(stock.name, digest) != digest:  # another config of the same name
            del results[stock.name]
        configs[stock.name] = digest
        own = dict(size=list(stock.size), small=list(stock.small), iterations=stock.iterations)
        if (others := settings.setdefault(stock.name, own)) != own:
            raise ValueError(f'{args.out}: {stock.name} is of {others}; give another --out')
        known = results.setdefault(stock.name, {})
        missing = [
            name
            for name in args.checks
            if args.again
            or any(
                name not in cells
                for cells in (known.get(split, {}) for split in args.splits)
                if 'split' not in cells
            )
        ]
        if missing:
            checks = {n: ALL[n] for n in missing}
            rows = examine(stock, checks, args.splits, args.flow_width, args.device)
            for split, row in rows.items():
                before = known.get(split, {})
                known[split] = row if 'split' in before or 'split' in row else before | row
        if args.out:
            stored = dict(detectors=results, configs=configs, settings=settings)
            stored.update(flow_width=args.flow_width, device=args.device)
            write_json(stored, args.out, indent=2, nan_as_null=True)
    print(markdown(results))
    if args.markdown:
        with atomic_write(args.markdown) as file:
            file.write(markdown(results))
    if found := failures(results):
        sys.exit('\n'.join(['detector_matrix.py: not right:', *found]))


if __name__ == '__main__':
    run_tool(main, parse_args())
