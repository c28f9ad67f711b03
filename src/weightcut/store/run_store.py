"""The results database of one run: every finished sample is committed at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Cell, CellKey, Observation, StudySpec

SCHEMA = 1
FILE = "results.sqlite"

_tables = MetaData()
_meta = Table("meta", _tables, Column("key", String, primary_key=True), Column("value", JSON))
_cells = Table(
    "cells",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("variant", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("task", String, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("manifest", JSON, nullable=False, default=dict),
    UniqueConstraint("variant", "stage", "task"),
)
_observations = Table(
    "observations",
    _tables,
    Column("cell", ForeignKey("cells.id", ondelete="CASCADE"), primary_key=True),
    Column("sample", String, primary_key=True),
    Column("repeat", Integer, primary_key=True),
    Column("values", JSON, nullable=False),
    Column("detail", JSON, nullable=False),
)


class RunStore:
    """One run folder's database; safe for several threads and processes at once."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self._engine = engine

    @classmethod
    def create(cls, folder: Path, spec: StudySpec) -> RunStore:
        """Make the database of a new run; the folder may exist but must hold no database.

        It gets its name once it is whole: a run that is killed before leaves none.
        """
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{FILE}.new"
        for leftover in folder.glob(f"{draft.name}*"):
            leftover.unlink()
        engine = _connect(draft)
        with engine.begin() as connection:
            _tables.create_all(connection)
            _set(connection, "schema", SCHEMA)
            _set(connection, "spec", spec.model_dump(mode="json"))
        engine.dispose()  # the last connection writes the log into the file and removes it
        draft.replace(folder / FILE)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False) -> RunStore:
        """Open an existing run; raises where there is none, or one of another schema.

        read_only: nothing in the folder is changed, and every attempt to write is an error.
        """
        path = folder / FILE
        if not path.is_file():
            raise UsageError(
                f"no run here: {FILE} is missing", place=str(folder), cure="name a run folder"
            )
        store = cls(folder, _connect_read_only(path) if read_only else _connect(path))
        try:
            schema = store.fact("schema")
        except DatabaseError as error:
            raise BrokenInput(
                f"not a results database ({error.orig})", place=str(path), cure="use another --out"
            ) from error
        if schema != SCHEMA:
            raise UsageError(
                f"the run has schema {schema!r}, this weightcut reads schema {SCHEMA}",
                place=str(folder),
                cure="open it with the version that made it, or start anew with another --out",
            )
        return store

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a run lies in the folder."""
        return (folder / FILE).is_file()

    def fact(self, key: str) -> Any:
        """Return a stored fact of the run, or None."""
        with self._engine.connect() as connection:
            return connection.scalar(select(_meta.c.value).where(_meta.c.key == key))

    def remember(self, key: str, value: Any) -> None:
        """Store a fact of the run (plain data)."""
        with self._engine.begin() as connection:
            _set(connection, key, value)

    def spec(self) -> StudySpec:
        """Return the study that the run is of."""
        return StudySpec.model_validate(self.fact("spec"))

    def machine(self) -> dict[str, Any]:
        """Return the machine that the run was made on."""
        return dict(self.fact("machine") or {})

    def conditions(self) -> dict[str, Any]:
        """Return digests, seeds and versions that hold for the whole run."""
        return dict(self.fact("conditions") or {})

    def cells(self) -> list[Cell]:
        """Return all cells in the order in which they were planned."""
        with self._engine.connect() as connection:
            return [_cell(row) for row in connection.execute(select(_cells).order_by(_cells.c.id))]

    def cell(self, key: CellKey) -> Cell | None:
        """Return one cell, or None where it was never planned."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_cells).where(*_where(key))).first()
            return _cell(row) if row else None

    def plan(self, keys: Sequence[CellKey]) -> None:
        """Add the cells that are not there yet, as pending."""
        known = {cell.key for cell in self.cells()}
        with self._engine.begin() as connection:
            for key in keys:
                if key not in known:
                    connection.execute(insert(_cells).values(**key.model_dump(), state="pending"))

    def update(self, key: CellKey, **changes: Any) -> None:
        """Change fields of a cell (state, attempts, error, reason, seconds, manifest)."""
        with self._engine.begin() as connection:
            connection.execute(update(_cells).where(*_where(key)).values(**changes))

    def observations(self, key: CellKey) -> list[Observation]:
        """Return a cell's observations, sorted by sample and repeat."""
        query = (
            select(_observations)
            .join(_cells)
            .where(*_where(key))
            .order_by(_observations.c.sample, _observations.c.repeat)
        )
        with self._engine.connect() as connection:
            return [
                Observation(sample=r.sample, repeat=r.repeat, values=r[3], detail=r[4])
                for r in connection.execute(query)
            ]

    def counts(self) -> dict[CellKey, int]:
        """Return how many observations each cell has that has any."""
        query = (
            select(_cells.c.variant, _cells.c.stage, _cells.c.task, func.count())
            .select_from(_observations.join(_cells))
            .group_by(_cells.c.id)
        )
        with self._engine.connect() as connection:
            return {
                CellKey(variant=row[0], stage=row[1], task=row[2]): row[3]
                for row in connection.execute(query)
            }

    def scores(self, key: CellKey) -> list[tuple[str, int, dict[str, float]]]:
        """Return sample, repeat and values of a cell's observations, without their detail."""
        query = (
            select(_observations.c.sample, _observations.c.repeat, _observations.c["values"])
            .join(_cells)
            .where(*_where(key))
            .order_by(_observations.c.sample, _observations.c.repeat)
        )
        with self._engine.connect() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def observation(self, key: CellKey, sample: str, repeat: int) -> Observation | None:
        """Return one observation of a cell, or None where it was not made."""
        query = (
            select(_observations)
            .join(_cells)
            .where(*_where(key), _observations.c.sample == sample, _observations.c.repeat == repeat)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            return Observation(sample=row.sample, repeat=row.repeat, values=row[3], detail=row[4])

    def finished(self, key: CellKey) -> set[tuple[str, int]]:
        """Return sample and repeat of what a cell has already measured."""
        query = (
            select(_observations.c.sample, _observations.c.repeat).join(_cells).where(*_where(key))
        )
        with self._engine.connect() as connection:
            return {(row.sample, row.repeat) for row in connection.execute(query)}

    def add(self, key: CellKey, observation: Observation) -> None:
        """Commit one observation; a second one of the same sample and repeat is an error."""
        with self._engine.begin() as connection:
            cell = connection.scalar(select(_cells.c.id).where(*_where(key)))
            values = observation.model_dump(mode="json")
            connection.execute(insert(_observations).values(cell=cell, **values))

    def clear(self, key: CellKey) -> None:
        """Forget a cell's observations (a timing is made whole or not at all)."""
        cell = select(_cells.c.id).where(*_where(key)).scalar_subquery()
        with self._engine.begin() as connection:
            connection.execute(delete(_observations).where(_observations.c.cell == cell))

    def close(self) -> None:
        """Close the database's connections."""
        self._engine.dispose()


def _connect(path: Path) -> Engine:
    if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return _connect_read_only(path)
    # Put together, not written: a folder's name may hold any sign that a URL gives a meaning to.
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _connect_read_only(path: Path) -> Engine:
    """Open a database in a folder that we may not write to, where SQLite cannot lock."""
    # Without a log nobody is writing: the file is whole, and nothing beside it is needed.
    still = {} if path.with_name(path.name + "-wal").exists() else {"immutable": "1"}
    query = {"mode": "ro", **still, "uri": "true"}
    return create_engine(URL.create("sqlite", database=f"file:{quote(str(path))}", query=query))


def _set(connection: Connection, key: str, value: Any) -> None:
    connection.execute(delete(_meta).where(_meta.c.key == key))
    connection.execute(insert(_meta).values(key=key, value=value))


def _where(key: CellKey) -> tuple[Any, ...]:
    return (_cells.c.variant == key.variant, _cells.c.stage == key.stage, _cells.c.task == key.task)


def _cell(row: Any) -> Cell:
    fields: Mapping[str, Any] = row._mapping
    key = CellKey(variant=fields["variant"], stage=fields["stage"], task=fields["task"])
    rest = ("state", "attempts", "error", "reason", "seconds", "manifest")
    return Cell(key=key, **{name: fields[name] for name in rest})
