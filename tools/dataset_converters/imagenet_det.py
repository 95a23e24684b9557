"""Convert ImageNet DET's XML annotations to a COCO json with the 30 classes of ImageNet VID."""

from semidff.converters.ilsvrc.to_coco import argument_parser, convert_det, run_converter

if __name__ == '__main__':
    images = 'images without suffix, such as DET_train_30classes.txt; further columns are ignored'
    run_converter(convert_det, argument_parser(__doc__, 'DET', images).parse_args())
