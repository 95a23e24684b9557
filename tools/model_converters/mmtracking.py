"""Convert a checkpoint of mmtracking's DFF, or of its FlowNetSimple alone."""

from semidff.converters.fit import argument_parser, run_converter
from semidff.converters.mmtracking import convert_file

if __name__ == '__main__':
    run_converter(convert_file, argument_parser(__doc__))
