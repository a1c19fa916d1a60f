"""A folder, or an archive, of JSON files that hold one picture each: SA-1B, LabelMe."""

from dataclasses import replace
from typing import Any

from pdlm_cli.readers import labelme, sa1b
from pdlm_cli.readers.folder_files import Files, Take, folder_of, items_of, unreadable
from pdlm_cli.readers.json_shape import shape_of
from pdlm_cli.readers.records import ImageRecord, Records
from pdlm_cli.stores import Store

READERS = (sa1b, labelme)


def reader_of(store: Store) -> Any:
    """Which of READERS the first JSON file of a folder is for; None if it is for none."""
    first = next((name for name in store.names() if name.endswith(".json")), None)
    if first is None:
        return None
    try:
        shape = shape_of(items_of(Files(store, len).json(first)))
    except ValueError:
        return None
    return next((reader for reader in READERS if reader.recognises(shape)), None)


def read(store: Store, take: Take, reader: Any) -> Records:
    """Every JSON file, by name. One that cannot be read is a region that cannot, so that its picture is told of."""
    files = Files(store, take)
    for name in store.names():
        if not name.endswith(".json"):
            continue
        image: ImageRecord | None = None
        try:
            for record in reader.read(items_of(files.json(name))):
                if isinstance(record, ImageRecord):
                    image = _placed(record, folder_of(name))
                    yield image
                else:
                    assert image is not None
                    yield replace(record, image_id=image.image_id)
        except ValueError as error:
            if image is None:
                image = ImageRecord(name, name.removesuffix(".json") + ".jpg")
                yield image
            yield unreadable(image.image_id, name, error)


def _placed(image: ImageRecord, folder: str) -> ImageRecord:
    """File names are relative to the JSON file; an image that goes by its name has to be told from others of it."""
    name = folder + image.file_name
    return replace(image, file_name=name, image_id=name if image.image_id == image.file_name else image.image_id)
