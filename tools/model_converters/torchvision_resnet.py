"""Convert the weights of one of torchvision's ResNets into a checkpoint of a backbone."""

from semidff.converters.fit import argument_parser, run_converter
from semidff.converters.torchvision import convert_file

if __name__ == '__main__':
    run_converter(convert_file, argument_parser(__doc__))
