"""Convert ImageNet VID's XML annotations to a COCO-VID json."""

from semidff.converters.ilsvrc.to_coco import argument_parser, convert_vid, run_converter

if __name__ == '__main__':
    parser = argument_parser(
        __doc__,
        'VID',
        'videos or frames, such as VID_val_videos.txt, VID_train_15frames.txt or VID_val_frames.txt',
    )
    parser.add_argument(
        '--frames-per-video',
        type=int,
        help='number of evenly spaced frames to take of each video (default: all listed frames)',
    )
    args = parser.parse_args()
    if args.frames_per_video is not None and args.frames_per_video < 1:
        parser.error(f'--frames-per-video must be at least 1, got {args.frames_per_video}')
    run_converter(convert_vid, args)
