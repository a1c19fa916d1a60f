"""COCO instances: `images`, and `annotations` with a `segmentation` each; `categories` give the names."""

import reprlib
from collections.abc import Iterable
from typing import Any

from pdlm_cli.regions import ImageEntry, Region

NAME = "coco-instances"
EXPECTED = "COCO instances: an object with 'images', 'annotations' (with 'segmentation') and 'categories'"


def recognises(value: Any) -> bool:
    """True for an object that has both lists of COCO. What is wrong inside them is for `read` to say."""
    return isinstance(value, dict) and "images" in value and "annotations" in value


def read(value: dict[str, Any]) -> list[ImageEntry]:
    """All images of the file, in file order, each with its annotations in file order.

    Raises ValueError for whatever makes the file ambiguous: wrong types, repeated ids, annotations without
    an image. A segmentation that does not decode is no reason: that becomes an error row.
    """
    images = _objects(value["images"], "images")
    annotations = _objects(value["annotations"], "annotations")
    if annotations and not any("segmentation" in annotation for annotation in annotations):
        raise ValueError(f"no annotation has a 'segmentation'; expected {EXPECTED}")
    names = _category_names(_objects(value.get("categories", []), "categories"))

    image_ids = [_id(image, "id", f"images[{i}]") for i, image in enumerate(images)]
    region_ids = [_id(annotation, "id", f"annotations[{i}]") for i, annotation in enumerate(annotations)]
    owners = [_id(annotation, "image_id", f"annotations[{i}]") for i, annotation in enumerate(annotations)]
    _refuse(_repeated(image_ids), "image ids used more than once", "ids must be unique")
    _refuse(_repeated(region_ids), "annotation ids used more than once", "ids must be unique")
    known = set(image_ids)
    unknown = [owner for owner in dict.fromkeys(owners) if owner not in known]
    _refuse(unknown, "annotations of images that are not in 'images'", "add the images or drop them")

    regions: dict[str, list[Region]] = {image_id: [] for image_id in image_ids}
    for i, (region_id, owner, annotation) in enumerate(zip(region_ids, owners, annotations, strict=True)):
        regions[owner].append(
            Region(
                region_id=region_id,
                source_index=i,
                category=names.get(str(annotation.get("category_id"))),
                crowd=annotation.get("iscrowd") == 1,
                segmentation=annotation.get("segmentation"),
            )
        )
    return [
        ImageEntry(
            image_id=image_id,
            file_name=_file_name(image, f"images[{i}]"),
            width=_size(image, "width", f"images[{i}]"),
            height=_size(image, "height", f"images[{i}]"),
            regions=tuple(regions[image_id]),
        )
        for i, (image_id, image) in enumerate(zip(image_ids, images, strict=True))
    ]


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"'{where}' must be a list, found {_shown(value)}")
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise ValueError(f"{where}[{i}] must be an object, found {_shown(item)}")
    return value


def _id(item: dict[str, Any], key: str, where: str) -> str:
    """Ids are whole numbers or text; 7 and "7" are the same id, as they are in the output."""
    found = item.get(key)
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise ValueError(f"{where} needs '{key}', a whole number or text; found {_shown(found)}")
    return _text(str(found), f"{where} '{key}'")


def _file_name(image: dict[str, Any], where: str) -> str:
    found = image.get("file_name")
    if not isinstance(found, str) or not found:
        raise ValueError(f"{where} needs 'file_name', below the images folder; found {_shown(found)}")
    return _text(found, f"{where} 'file_name'")


def _size(image: dict[str, Any], key: str, where: str) -> int | None:
    found = image.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"{where} '{key}' must be a number of pixels, 1 or more; found {_shown(found)}")
    return found


def _category_names(categories: list[dict[str, Any]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for i, category in enumerate(categories):
        name = category.get("name")
        if not isinstance(name, str):
            raise ValueError(f"categories[{i}] needs 'name', a text; found {_shown(name)}")
        names[str(category.get("id"))] = _text(name, f"categories[{i}] 'name'")
    return names


def _text(text: str, where: str) -> str:
    """JSON can spell half a character (a lone surrogate); no file name and no Parquet column can hold one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half a Unicode character: {text!r}") from None
    return text


def _repeated(ids: list[str]) -> list[str]:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in ids:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return list(repeated)


def _refuse(names: Iterable[str], problem: str, remedy: str) -> None:
    listed = list(names)
    if listed:
        more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
        raise ValueError(f"{problem}: {', '.join(listed[:10])}{more}; {remedy}")


def _shown(value: Any) -> str:
    """A value in an error message, cut in length and depth."""
    return "nothing" if value is None else reprlib.repr(value)
