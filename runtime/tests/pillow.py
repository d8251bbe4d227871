"""Decodes every *.jpg of a folder with Pillow, which uses libjpeg-turbo, to raw RGB beside it, *.rgb."""

import pathlib
import sys

from PIL import Image

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jpg")):
    try:
        path.with_suffix(".rgb").write_bytes(Image.open(path).convert("RGB").tobytes())
    except OSError as error:
        print(f"{path.name}: {error}")
