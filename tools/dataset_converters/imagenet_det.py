"""Convert ImageNet DET's XML annotations to a COCO json with the 30 classes of ImageNet VID."""

from semidff.converters.ilsvrc.to_coco import argument_parser, convert_det
from semidff.utils.arguments import run_tool

if __name__ == '__main__':
    images = 'images without suffix, such as DET_train_30classes.txt; further columns are ignored'
    args = argument_parser(__doc__, 'DET', images).parse_args()
    run_tool(lambda args: print(convert_det(**vars(args))), args, prefix='error: ')
