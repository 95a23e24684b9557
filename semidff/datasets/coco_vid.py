"""Dataset of labeled videos and images in COCO-VID json."""

import os.path as osp
from collections import defaultdict

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from PIL import ExifTags, Image

from semidff.utils.logs import log_warning

from .vid_json import image_folder, load_vid_json, match_classes, ordered_frames
from .video_readers.frame_folder import naming_images


@DATASETS.register_module()
class CocoVIDDataset(CocoDataset):
    """All frames of a COCO-VID json, in (video, frame) order, as detection samples.

    In addition to CocoDataset's entries each frame has ``video_id``, ``frame_id`` (0-based in the
    video), ``video_name`` and ``video_length``, and each instance has ``instance_id`` and ``score``
    (-1 and 1 if the json has none). ``PackVideoFrame`` passes them to the data samples. In plain
    COCO json each image is a video of one frame.

    Labels are the places of the classes in the metainfo; without ``metainfo`` the classes are those
    of the json. Training leaves out unlabeled frames and, as in mmdet, those that ``filter_cfg``
    drops. Test mode keeps all frames, and the json may have some of the classes only.

    In sparsely labeled videos an image with ``is_labeled: false`` has no annotations, although it
    may show objects. Such frames can be key frames of training pairs (:meth:`frame_path`). Instead
    of listing them, a video may have a ``frame_pattern``, the ``file_name`` of its frames with a
    placeholder for the frame number, ``%d`` or such as ``%06d``.

    Args:
        data_prefix: ``dict(img=...)``, folder of the images relative to ``data_root``. Without
            either, images that are not found from the current folder are looked for in that of the
            json. For :class:`~semidff.datasets.LoadLabelMap` also ``seg``, folder of the label
            maps, which have the names of the images with the suffix .png.
    """

    METAINFO = {'classes': None}

    def __init__(self, *args, data_prefix: dict | None = None, **kwargs) -> None:
        super().__init__(*args, data_prefix=data_prefix or {'img': ''}, **kwargs)

    def load_data_list(self) -> list[dict]:
        content = load_vid_json(self.ann_file, self.backend_args)
        classes = self.metainfo['classes']
        match = match_classes(content, classes, self.ann_file, some=self.test_mode)
        self._metainfo['classes'], self.cat2label = match
        if self.test_mode and list(self.cat2label.values()) != [*range(len(match[0]))]:
            log_warning(
                f'{self.ann_file}: has other classes than the metainfo, or another order; evaluate '
                "with VIDMetric, because mmdetection's CocoMetric confuses them"
            )
        name = content['images'][0]['file_name']
        if not self.data_root and not self.data_prefix['img'] and not osp.exists(name):
            self.data_prefix['img'] = str(image_folder(self.ann_file, name))
        self.cat_ids = list(self.cat2label)
        videos = (video for video in content['videos'] if 'frame_pattern' in video)
        self._patterns = {video['id']: video['frame_pattern'] for video in videos}
        self._paths: dict[int, dict[int, str]] = defaultdict(dict)
        self._left_out: list[str] = []
        annotations = defaultdict(list)
        self.cat_img_map = defaultdict(list)
        for annotation in content['annotations']:
            box = annotation['bbox']
            annotations[annotation['image_id']].append({'area': box[2] * box[3], **annotation})
            self.cat_img_map[annotation['category_id']].append(annotation['image_id'])
        frames = [
            self.parse_data_info(
                {
                    'raw_img_info': {**frame, 'img_id': frame['id']},
                    'raw_ann_info': annotations[frame['id']],
                }
            )
            for frame in ordered_frames(content, self.ann_file)
        ]
        if self._left_out:
            log_warning(
                f'{self.ann_file}: {len(self._left_out)} of {len(content["annotations"])} boxes '
                'are left out, because they are outside of their images or narrower than a pixel '
                '(boxes are x, y, width, height in pixels): ' + '; '.join(self._left_out[:5])
            )
        return frames

    def parse_data_info(self, raw_data_info: dict) -> dict:
        image = raw_data_info['raw_img_info']
        if self._is_turned(image, raw_data_info['raw_ann_info']):
            image = {**image, 'width': image['height'], 'height': image['width']}
        data_info = super().parse_data_info({'raw_img_info': image, 'raw_ann_info': []})
        # One at a time, because CocoDataset drops some and does not report which.
        for annotation in raw_data_info['raw_ann_info']:
            single = {'raw_img_info': image, 'raw_ann_info': [annotation]}
            instances = super().parse_data_info(single)['instances']
            for instance in instances:
                instance['instance_id'] = annotation.get('instance_id', -1)
                instance['score'] = annotation.get('score', 1.0)
                data_info['instances'].append(instance)
            is_wanted = annotation['category_id'] in self.cat2label and not annotation.get('ignore')
            if is_wanted and not instances:
                self._left_out.append(f'{image["file_name"]} {annotation["bbox"]}')
        for key in ('video_id', 'frame_id', 'video_name', 'video_length'):
            data_info[key] = image[key]
        data_info['is_labeled'] = bool(image.get('is_labeled', True))
        if data_info['seg_map_path']:
            data_info['num_classes'] = len(self._metainfo['classes'])
        self._paths[image['video_id']][image['frame_id']] = data_info['img_path']
        return data_info

    def _is_turned(self, image: dict, annotations: list[dict]) -> bool:
        """Return whether EXIF data turns a photo whose boxes fit its turned size alone."""
        right = max((a['bbox'][0] + a['bbox'][2] for a in annotations), default=0)
        bottom = max((a['bbox'][1] + a['bbox'][3] for a in annotations), default=0)
        width, height = image['width'], image['height']
        if (right <= width and bottom <= height) or right > height or bottom > width:
            return False
        try:
            with Image.open(osp.join(self.data_prefix['img'], image['file_name'])) as photo:
                return photo.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        except OSError:
            return False  # loading it will tell

    def prepare_data(self, idx: int) -> dict | None:
        with naming_images([self.get_data_info(idx)['img_path']]):
            return super().prepare_data(idx)

    def frame_path(self, video_id: int, frame_id: int) -> str | None:
        """Return the image file of a frame; None if it is neither listed nor named by a pattern."""
        listed = self._paths[video_id].get(frame_id)
        if listed is not None or video_id not in self._patterns:
            return listed
        return osp.join(self.data_prefix['img'], self._patterns[video_id] % frame_id)

    def filter_data(self) -> list[dict]:
        """Drop unlabeled frames and what ``filter_cfg`` drops, in training only."""
        frames = super().filter_data()
        if not self.test_mode:
            frames = [frame for frame in frames if frame['is_labeled']]
        return frames
