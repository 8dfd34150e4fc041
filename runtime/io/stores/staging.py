"""Folders in a store: objects staged under a temporary prefix, moved when all are whole."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from runtime.errors import ExistsError, MissingError, OnnxferryError, UsageError
from runtime.io.stores.errors import translate_errors
from runtime.io.stores.listing import list_objects
from runtime.io.stores.reading import RANGE_BYTES, open_stream
from runtime.io.stores.writing import (
    TEMPORARY,
    ObjectWriter,
    copy_object,
    delete_quietly,
    is_copied,
    put_new,
)
from runtime.io.success import SUCCESS
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.io.stores.listing import Found
    from runtime.io.stores.object_path import ObjectPath
    from runtime.io.success import MakeMarker

_COPIES: Final = 8  # at once
_CLAIM: Final = "commit"  # names the run that publishes
_CLAIM_TRIES: Final = 5


class StoredStage(Value, frozen=True):
    """The staged objects of one run, ``PREFIX/_temporary/RUN``; picklable.

    Attributes:
        prefix: the folder that they are for.
        run: name of the run.
    """

    prefix: ObjectPath
    run: str

    @property
    def _folder(self) -> ObjectPath:
        return self.prefix / TEMPORARY / self.run

    def open(self, name: str) -> ObjectWriter:
        """Open an object that is staged, complete, when its block succeeds."""
        return ObjectWriter(self._folder / name)

    def put(self, name: str, content: bytes) -> None:
        """Stage a small object."""
        path = self._folder / name
        with translate_errors(str(path), writing=True):
            path.store.put(path.key, content)

    def read(self, name: str) -> bytes:
        """Read a small object."""
        return (self._folder / name).read_bytes()

    def location(self, name: str) -> ObjectPath:
        """Where an object is, for those who read it."""
        return self._folder / name

    def names(self, folder: str = "") -> list[str]:
        """List what is staged, or what is in a folder there, sorted."""
        depth, found = len(self._folder.parts), list_objects(self._folder / folder, writing=True)
        return sorted("/".join(each.path.parts[depth:]) for each in found)

    def delete(self, *names: str) -> None:
        """Delete staged objects, as far as possible."""
        delete_quietly(*(self._folder / name for name in names))

    def check(self) -> None:
        """Refuse a prefix that holds objects; staged ones aside."""
        found = list_objects(self.prefix, writing=True)
        depth = len(self.prefix.parts)
        names = [each.path for each in found if each.path.parts[depth] != TEMPORARY]
        if names:
            raise UsageError(
                f"{self.prefix} holds objects, such as {names[0].name}: nothing is written into "
                "it; give another prefix, or remove them"
            )

    def publish(self, moves: Mapping[str, str], success: MakeMarker) -> None:
        """Copy staged objects to their names, then write the marker; all of them or none.

        Args:
            moves: the staged name of each name.
            success: makes the marker of the ETags of the names.

        Raises:
            UsageError: when the prefix holds objects, or another run publishes into it.
        """
        resumes = self._claim()
        done: list[ObjectPath] = []
        try:
            if not resumes:
                self.check()
            sizes = {each.path: each for each in list_objects(self._folder)}
            work = [(sizes[self._folder / staged], self.prefix / name)
                    for name, staged in moves.items()]  # fmt: skip
            self._copy_all(work, done, replaces=resumes)
            etags = {each.path: each.etag for each in list_objects(self.prefix)}
            marker = success({name: etags.get(self.prefix / name) for name in moves})
            put_new(self.prefix / SUCCESS, marker)
        except BaseException:
            if not resumes:
                delete_quietly(*done, self.prefix / TEMPORARY / _CLAIM)
            raise
        self.remove()
        delete_quietly(self.prefix / TEMPORARY / _CLAIM)

    def _claim(self) -> bool:
        """Claim the prefix; whether this run had claimed it before it was killed."""
        claim, own = self.prefix / TEMPORARY / _CLAIM, self.run.encode()
        for _ in range(_CLAIM_TRIES):
            try:
                put_new(claim, own)
            except ExistsError:
                with suppress(MissingError):  # another run has just published or given up
                    if claim.read_bytes() == own:
                        return True
                    break
            else:
                return False
        raise UsageError(
            f"another run publishes into {self.prefix}, or was killed while it did; give another "
            f"prefix, or remove {claim}"
        )

    def _copy_all(
        self, work: Sequence[tuple[Found, ObjectPath]], done: list[ObjectPath], *, replaces: bool
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def copy(pair: tuple[Found, ObjectPath]) -> None:
            _copy(*pair, replaces=replaces)
            done.append(pair[1])

        with ThreadPoolExecutor(_COPIES, "copy") as pool:
            list(pool.map(copy, work))

    def remove(self) -> None:
        """Remove what is staged, as far as possible."""
        with suppress(OnnxferryError):
            delete_quietly(*(each.path for each in list_objects(self._folder)))


def staged_runs(prefix: ObjectPath) -> list[str]:
    """List the runs that have staged objects for a prefix; ``UsageError`` without its bucket."""
    depth = len(prefix.parts) + 1
    found = list_objects(prefix / TEMPORARY, writing=True)
    return sorted({each.path.parts[depth] for each in found if len(each.path.parts) > depth + 1})


def _copy(found: Found, target: ObjectPath, *, replaces: bool) -> None:
    """Copy an object in its store; one that the store does not copy goes through here."""
    if is_copied(target, found.size):
        copy_object(found.path, target, found.size, replaces=replaces)
        return
    with ObjectWriter(target) as writer, open_stream(found.path) as source:
        while content := source.read(RANGE_BYTES):
            writer.write(content)
