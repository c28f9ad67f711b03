"""The data file of a task that embeds none."""

from __future__ import annotations

from pathlib import Path

from weightcut.data.datasets import dataset_folder, needed
from weightcut.errors import UsageError


def dataset_file(task: str, place: str, name: str, origin: str) -> Path:
    """Return the file `name` of the folder (or hub reference) that a task's setting `data` gives.

    A setting that is missing, a folder or a file that is not there: UsageError with the origin.
    """
    if not place:
        raise UsageError(
            f"the task {task} brings no data of its own",
            place=f"task {task}",
            cure=f"set data: FOLDER, a folder with {name}; the data are {origin}",
        )
    return needed(dataset_folder(place, [name], origin), name, origin)
