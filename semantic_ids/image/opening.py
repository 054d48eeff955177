"""Opening a picture as people see it: upright, in colour, on white."""

import warnings
from pathlib import Path
from typing import Any


class UnreadableImageError(ValueError):
    """A file that holds no picture, or half of one."""


def open_image(source: Any) -> Any:
    """Return a picture as a PIL image in RGB, read to its end.

    A picture is turned as its EXIF data say, what is transparent becomes white, and of a moving
    picture the first frame is taken.

    Parameters
    ----------
    source : path of a file of any format that Pillow reads, or a PIL image.

    Raises
    ------
    FileNotFoundError
        if there is no such file.
    ImportError
        if Pillow is not installed.
    TypeError
        if it is neither a path nor a PIL image.
    UnreadableImageError
        if the file is no picture or is cut off, or the picture is a single pixel, which shops
        serve where they have none.

    Examples
    --------
    >>> from PIL import Image
    >>> open_image(Image.new("RGBA", (4, 3))).getpixel((0, 0))
    (255, 255, 255)
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("images need Pillow: pip install 'semantic-ids[image]'") from None
    if not isinstance(source, str | Path | Image.Image):
        raise TypeError(f"expected a path or a PIL image, got a {type(source).__name__}")
    if not isinstance(source, Image.Image) and not Path(source).is_file():
        raise FileNotFoundError(f"{source}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes below Pillow's limit
            picture = _upright(source)
    # Decoders raise whatever the damage leads them to, and one file must not end long work.
    except Exception as error:
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error
    if picture.size == (1, 1):
        raise UnreadableImageError("a single pixel")
    return picture


def _upright(source: Any) -> Any:
    from PIL import Image, ImageOps

    if not isinstance(source, Image.Image):
        with Image.open(source) as opened:
            return _upright(opened)
    turned = ImageOps.exif_transpose(source)
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return turned.convert("RGB")
