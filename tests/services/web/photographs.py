"""Photographs of several people."""

import io

from PIL import Image


def side_by_side(*images: bytes) -> bytes:
    """One picture of several."""
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    height = max(picture.height for picture in pictures)
    made = Image.new("RGB", (sum(picture.width for picture in pictures), height))
    left = 0
    for picture in pictures:
        made.paste(picture, (left, 0))
        left += picture.width
    file = io.BytesIO()
    made.save(file, "JPEG", quality=92)
    return file.getvalue()
