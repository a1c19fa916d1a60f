"""Prints the captions in an output folder of `pdlm caption` as a table: python examples/coco/show.py OUT"""

import sys
from pathlib import Path

import pyarrow.dataset as ds
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def main(folder: Path) -> None:
    columns = ["image_path", "region_id", "category", "status", "caption", "error_message"]
    rows = ds.dataset(folder / "data", format="parquet").to_table(columns=columns).to_pylist()
    table = Table("image", "region", "category", "caption", box=box.SIMPLE_HEAD)
    for row in rows:
        said = row["caption"] if row["status"] == "ok" else f"{row['status']}: {row['error_message']}"
        cells = (Path(row["image_path"]).name, row["region_id"], row["category"] or "", said)
        table.add_row(*map(Text, cells))  # Text: a caption with [brackets] is data, not markup
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
