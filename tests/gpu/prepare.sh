#!/usr/bin/env bash
# Packs what a GPU machine without network lacks into work_dirs/gpu_site, which git ignores: 40 MB. That machine has
# Python 3.12, PyTorch, torchvision, OpenCV, SciPy, scikit-image, Matplotlib and TensorBoard. On it, in this folder:
#   tar xzf work_dirs/gpu_site/site.tar.gz -C /tmp && PYTHONPATH=/tmp/site python3 -m tests.gpu.check
set -euo pipefail
cd "$(dirname "$0")/../.."
out=work_dirs/gpu_site
packages=(onedl-mmengine onedl-mmcv onedl-mmdetection addict yapf terminaltables termcolor platformdirs
  imaug imagecorruptions-imaug pycocotools shapely av)
rm -rf $out
mkdir -p $out
git describe --always --dirty >$out/commit
"$(command -v uv || echo .venv/bin/uv)" pip install --quiet --python .venv/bin/python --target $out/site --no-deps \
  --constraint requirements.txt --python-version 3.12 --python-platform x86_64-manylinux_2_28 "${packages[@]}"
find $out/site -name __pycache__ -prune -exec rm -rf {} +
tar czf $out/site.tar.gz -C $out site
rm -r $out/site
ls -l $out/site.tar.gz
