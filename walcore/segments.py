"""The directory of a log: what lies in it, and every change that is made to it.

`list_segments` and `open_segment` read; they never follow a symbolic link, wait for a FIFO or trust a length.
`Directory` changes.  All of its calls go through one directory descriptor, so nothing outside is ever touched, and each
change ends with a sync of the directory: until then a power cut may undo it.  A new file is written and synced under a
name that the format doesn't match and only then gets its own, so no reader ever sees half a file.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import sys
import threading
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import ujson

from walcore import format as fmt
from walcore._core.encode import crc32c, header_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

# A header has about 160 bytes.  The limit keeps a damaged length, or a gzip bomb, from making a listing allocate.
MAX_HEADER_BYTES: Final = 64 * 1024
COPY_BYTES: Final = 1 << 20
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
# Reading never follows a link, and never waits for the other end of a FIFO.
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# What file systems without hard links answer to link(2).
_NO_LINK: Final = {
    errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV
}  # fmt: skip
NOT_REGULAR: Final = "not a regular file"
_CHECKSUM: Final = b',"crc32c":'


@dataclass(frozen=True, slots=True)
class Header:
    """The first frame of a segment; `crc` is its stored CRC-32C and `size` the bytes of the frame."""

    store: str
    created: int
    number: int
    first_id: int
    crc: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A file named like a segment.  Without a readable header, `problem` says why: "empty", "torn header",
    "not a regular file", "unreadable: ...".  `size` is that of the file, in bytes.
    """

    path: Path
    name: str
    sealed: bool
    size: int
    inode: int
    header: Header | None
    problem: str | None = None

    @property
    def number(self) -> int:
        """The header's number; 0 without a header."""
        return self.header.number if self.header else 0


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment just made: `fd` is open for appending, `size` bytes (the header) are in it and on disk."""

    fd: int
    path: Path
    header: Header
    size: int
    inode: int

    def finished(self, size: int) -> Segment:
        """The same as a `Segment` of `size` bytes, which is what the sealer takes."""
        return Segment(self.path, self.path.name, False, size, self.inode, self.header)


@dataclass(frozen=True, slots=True)
class PurgeMarker:
    """What a purge that has begun will delete: `(name, number, header CRC)` of files with a header, `(name, inode,
    size)` of others, and the LSN that comes next.
    """

    next_lsn: int
    store: str
    headed: frozenset[tuple[str, int, int]]
    headless: frozenset[tuple[str, int, int]]

    def lists(self, segment: Segment) -> bool:
        """Whether the purge deletes `segment`; a file made or remade since is not listed."""
        plain = segment.name.removesuffix(fmt.SEALED_SUFFIX)
        if segment.header is None:
            return (segment.name, segment.inode, segment.size) in self.headless
        # Sealing keeps header and number: a plain file listed is listed as .gz too, and the other way round.
        key = (segment.header.number, segment.header.crc)
        return (plain, *key) in self.headed or (plain + fmt.SEALED_SUFFIX, *key) in self.headed


if sys.platform == "darwin":

    def _sync(fd: int, _call: Callable[[int], None]) -> None:
        # fsync reaches the drive's cache only; where F_FULLFSYNC is refused nothing may be promised.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:

    def _sync(fd: int, call: Callable[[int], None]) -> None:
        call(fd)


def sync_file(fd: int) -> None:
    """Bring the data of `fd`, and the size that it needs to be read, to the disk.  Raises OSError."""
    _sync(fd, getattr(os, "fdatasync", os.fsync))


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, going on after short writes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def list_segments(directory: Path) -> list[Segment]:
    """Every file of `directory` named like a segment, in the order of the headers' numbers.

    Those without a readable header come first; of one number the plain file comes before the sealed one.  Needs no
    lock; a file that goes meanwhile is left out.

    Raises:
        FileNotFoundError: there is no such directory.
        OSError: a file can't be read for any reason but permission or what it is.
    """
    with Directory(directory) as opened:
        return opened.segments()


def open_segment(path: Path) -> int:
    """Open a segment for reading and return the descriptor.

    Raises:
        OSError: also (EINVAL) when `path` is a link, FIFO, folder or device.
    """
    with _told("open", path):
        return _open_regular(str(path), None)


def is_segment_name(name: str) -> bool:
    """Whether `name` is one that the format gives to a segment, negative first ids included."""
    return bool(fmt.SEGMENT_NAME.fullmatch(name) or fmt.NEGATIVE_SEGMENT_NAME.fullmatch(name))


def parse_header(json: bytes, crc: int) -> Header | None:
    """The header whose frame holds `json`; None if it is none.  `crc` is the frame's stored CRC-32C."""
    try:
        fields = ujson.loads(json)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("t") != "V":
        return None
    values: list[Any] = [fields.get(key) for key in ("store", "created", "segment", "firstId")]
    store, created, number, first_id = values
    if not isinstance(store, str) or any(type(value) is not int for value in (created, number, first_id)):
        return None
    if not 1 <= number <= fmt.MAX_INT32 or not fmt.MIN_INT32 <= first_id <= fmt.MAX_INT32:
        return None
    return Header(store, created, number, first_id, crc, len(json) + fmt.FRAME_OVERHEAD)


class Directory:
    """A log's folder, held by a descriptor.  Safe to share between threads.

    Every OSError that leaves it carries the full path as `filename` and the system call as `call`.
    """

    def __init__(self, path: Path, *, create: bool = False, within: int | None = None) -> None:
        """Open `path`; with `create`, make its last part if missing.

        Raises:
            FileNotFoundError: it isn't there (or, with `create`, its parent isn't).
            NotADirectoryError: it is a file.
        """
        self.path = path
        self.fd = -1
        self._line_lock = threading.Lock()
        name = str(path) if within is None else path.name
        if create:
            with _told("mkdir", path), suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=within)
        # Only the folder that the caller named may be reached through a link, none that is ours below it.
        no_follow = 0 if within is None else os.O_NOFOLLOW
        with _told("open", path):
            self.fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | no_follow, dir_fd=within)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; calling it again does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def sync(self) -> None:
        """Bring the names in the directory to the disk."""
        with _told("fsync", self.path):
            _sync(self.fd, os.fsync)

    def sync_parent(self) -> None:
        """Bring the directory's own name to the disk.

        Done at every opening: the process that made the directory may have been killed before it could.  A parent that
        may not be read is passed over.
        """
        with _told("fsync", self.path.parent), suppress(PermissionError):
            fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                _sync(fd, os.fsync)
            finally:
                os.close(fd)

    # -- what is there ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All names in the directory, in no order."""
        with _told("readdir", self.path):
            return os.listdir(self.fd)  # noqa: PTH208 (pathlib can't list a descriptor)

    def segments(self) -> list[Segment]:
        """What `list_segments` returns."""
        found = [self.segment(name) for name in self.names() if is_segment_name(name)]
        return sorted((s for s in found if s), key=lambda s: (s.number, s.sealed, s.name))

    def segment(self, name: str) -> Segment | None:
        """The segment called `name`, its header read; None if it isn't there."""
        sealed, path = name.endswith(fmt.SEALED_SUFFIX), self.path / name
        header: Header | None = None
        problem: str | None = NOT_REGULAR
        fd = -1
        try:
            with _told("stat", path):
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                problem, fd = "empty", self.open(name)
        except FileNotFoundError:
            return None
        except PermissionError as exc:
            if exc.call == "stat":  # type: ignore[attr-defined]
                raise
            problem = f"unreadable: {exc.strerror}"
        if fd >= 0:
            try:
                status = os.fstat(fd)
                with _told("read", path):
                    header, problem = _read_header(fd, sealed) if status.st_size else (None, problem)
            finally:
                os.close(fd)
        return Segment(path, name, sealed, status.st_size, status.st_ino, header, problem)

    def has(self, name: str) -> bool:
        """Whether anything is called `name`."""
        with _told("stat", self.path / name):
            try:
                os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def open(self, name: str) -> int:
        """Open the regular file `name` for reading."""
        with _told("open", self.path / name):
            return _open_regular(name, self.fd)

    # -- changes ------------------------------------------------------------------------------------------------------

    def create_segment(self, number: int, first_id: int, store: str, created: int) -> NewSegment:
        """Make a segment that holds its header, under the first free name for `first_id`; all of it is on disk.

        Raises:
            OSError: nothing of it is left, apart from what a failed `fsync` of the directory leaves open.
        """
        frame = header_frame(store, created, number, first_id)
        temporary = fmt.segment_name(first_id) + fmt.TEMPORARY_SUFFIX
        name = temporary
        fd = self.create(temporary)
        try:
            with _told("write", self.path / temporary):
                write_all(fd, frame)
            self.sync_data(fd, temporary)
            inode = os.fstat(fd).st_ino
            name = self._publish_free(temporary, first_id)
            self.sync()
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                self.drop(temporary)
                self.drop(name)
            raise
        crc = int.from_bytes(frame[-fmt.CRC_SIZE :], "little")
        header = Header(store, created, number, first_id, crc, len(frame))
        return NewSegment(fd, self.path / name, header, len(frame), inode)

    def _publish_free(self, temporary: str, first_id: int) -> str:
        zeros = (fmt.segment_name(first_id, zeros) for zeros in range(fmt.MAX_NAME_ZEROS + 1))
        above = (fmt.segment_name(number) for number in itertools.count(max(first_id, 0) + 1))
        for name in itertools.chain(zeros, above):
            # Plain before sealed: in that order a segment being sealed can't slip through between the two looks.
            if not self.has(name) and not self.has(name + fmt.SEALED_SUFFIX):
                with suppress(FileExistsError):
                    self.publish(temporary, name)
                    return name
        raise AssertionError  # the names have no end

    def create(self, temporary: str) -> int:
        """Make the temporary file of that name, in place of one left behind, and open it for appending."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _told("open", self.path / temporary):
            try:
                return os.open(temporary, flags, FILE_MODE, dir_fd=self.fd)
            except FileExistsError:
                os.unlink(temporary, dir_fd=self.fd)
                return os.open(temporary, flags, FILE_MODE, dir_fd=self.fd)

    def sync_data(self, fd: int, name: str) -> None:
        """`sync_file`, with the path in the error."""
        with _told("fdatasync", self.path / name):
            sync_file(fd)

    def publish(self, temporary: str, name: str) -> None:
        """Give a synced temporary file its name, replacing nothing.  The caller syncs the directory.

        Raises:
            FileExistsError: the name is taken; the temporary file is still there.
        """
        with _told("link", self.path / name):
            try:
                os.link(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in _NO_LINK:
                    raise
                self._rename_free(temporary, name)
                return
        try:
            self.drop(temporary)
        except OSError:
            # Reported as not published, so it must not be there.
            with suppress(OSError):
                self.drop(name)
            raise

    def _rename_free(self, temporary: str, name: str) -> None:
        # Look, then rename: the lock keeps other writers from taking the name in between.
        if self.has(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def replace(self, temporary: str, name: str) -> None:
        """Rename a synced temporary file over `name`, and sync the directory."""
        with _told("rename", self.path / name):
            os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        self.sync()

    def drop(self, name: str) -> None:
        """Unlink `name` if it is there, without a sync: for files that nobody will look for."""
        with _told("unlink", self.path / name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def delete(self, segment: Segment) -> bool:
        """Delete the very file that `segment` describes, and sync; False if another one has the name, or none."""
        try:
            with _told("stat", segment.path):
                status = os.stat(segment.name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if status.st_ino != segment.inode:
            return False
        with _told("unlink", segment.path):
            os.unlink(segment.name, dir_fd=self.fd)
        self.sync()
        return True

    def remove_temporaries(self) -> list[str]:
        """Unlink every temporary file that a crash left; returns the names."""
        left = [name for name in self.names() if name.endswith(fmt.TEMPORARY_SUFFIX)]
        for name in left:
            with suppress(IsADirectoryError):
                self.drop(name)
        return left

    def copy(self, name: str, folder: Directory, temporary: str, start: int, end: int, *, mode: int = FILE_MODE) -> int:
        """Copy bytes `start` to `end` of `name` to a temporary file of `folder`, on disk when it returns.

        Returns:
            The copy's inode.

        Raises:
            OSError: also (EIO) when `name` ends before `end`; the temporary file is gone.
        """
        source = self.open(name)
        try:
            target = folder.create(temporary)
            try:
                with _told("copy", self.path / name):
                    if mode != FILE_MODE:
                        os.fchmod(target, mode)
                    copy_range(source, target, start, end)
                folder.sync_data(target, temporary)
                return os.fstat(target).st_ino
            except BaseException:
                with suppress(OSError):
                    folder.drop(temporary)
                raise
            finally:
                os.close(target)
        finally:
            os.close(source)

    # -- quarantine ---------------------------------------------------------------------------------------------------

    def quarantine(self, name: str, start: int, end: int, lsn: int) -> str:
        """Copy bytes `start` to `end` of `name` into the quarantine and bring them to the disk; `name` stays as it is.

        The copy's name tells the range and `lsn`, the highest LSN in it, so that no opening has to read it for that.
        Made again after a crash, the same copy is not kept twice.

        Returns:
            The copy's path within the directory.
        """
        target = f"{name}.{start}-{end}.lsn{lsn}"
        temporary = target + fmt.TEMPORARY_SUFFIX
        with Directory(self.path / fmt.QUARANTINE_NAME, create=True, within=self.fd) as folder:
            self.copy(name, folder, temporary, start, end)
            target = folder._keep(temporary, target)
            folder.sync()
        self.sync()
        return f"{fmt.QUARANTINE_NAME}/{target}"

    def _keep(self, temporary: str, target: str) -> str:
        for attempt in itertools.count(1):
            name = target if attempt == 1 else f"{target}.{attempt}"
            with suppress(FileExistsError):
                self.publish(temporary, name)
                return name
            if self._same(temporary, name):
                self.drop(temporary)
                return name
        raise AssertionError  # the names have no end

    def _same(self, one: str, other: str) -> bool:
        with os.fdopen(self.open(one), "rb") as a, os.fdopen(self.open(other), "rb") as b:
            self.sync_data(b.fileno(), other)
            while True:
                left, right = a.read(COPY_BYTES), b.read(COPY_BYTES)
                if left != right or not left:
                    return left == right

    # -- small files --------------------------------------------------------------------------------------------------

    def write_line(self, name: str, fields: dict[str, Any]) -> None:
        """Put `fields` into the file `name` as one JSON line with its own CRC-32C; on disk when it returns."""
        body = ujson.dumps(fields).encode()[:-1]
        line = b"%s%s%d}\n" % (body, _CHECKSUM, crc32c(body))
        temporary = name + fmt.TEMPORARY_SUFFIX
        with self._line_lock:
            fd = self.create(temporary)
            try:
                with _told("write", self.path / temporary):
                    write_all(fd, line)
                self.sync_data(fd, temporary)
            except BaseException:
                with suppress(OSError):
                    self.drop(temporary)
                raise
            finally:
                os.close(fd)
            self.replace(temporary, name)

    def read_line(self, name: str) -> dict[str, Any] | None:
        """The fields that `write_line` put into `name`; None if it is missing, torn or garbled."""
        with _told("open", self.path / name):
            try:
                fd = _open_regular(name, self.fd)
            except FileNotFoundError:
                return None
        with _told("read", self.path / name), os.fdopen(fd, "rb") as file:
            body, _, tail = file.read().rpartition(_CHECKSUM)
        try:
            fields = ujson.loads(body + b"}") if tail == b"%d}\n" % crc32c(body) else None
        except (ValueError, RecursionError):
            return None
        return fields if isinstance(fields, dict) else None

    def write_marker(self, marker: PurgeMarker) -> None:
        """Make a purge's marker durable: from here on its files count as gone."""
        fields = {"nextLsn": marker.next_lsn, "store": marker.store}
        rows = {"headed": sorted(marker.headed), "headless": sorted(marker.headless)}
        self.write_line(fmt.PURGE_NAME, fields | rows)

    def read_marker(self) -> PurgeMarker | None:
        """The marker of a purge that has begun and not ended; None if there is none."""
        fields = self.read_line(fmt.PURGE_NAME)
        if fields is None:
            return None
        headed, headless = (frozenset((n, a, b) for n, a, b in fields[key]) for key in ("headed", "headless"))
        return PurgeMarker(fields["nextLsn"], fields["store"], headed, headless)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Append bytes `start` to `end` of one descriptor to another, in constant memory.

    Raises:
        OSError: also (EIO) when the source ends before `end`.
    """
    while start < end:
        chunk = os.pread(source, min(COPY_BYTES, end - start), start)
        if not chunk:
            raise OSError(errno.EIO, f"file ended at {start}, {end} bytes were expected")
        write_all(target, chunk)
        start += len(chunk)


@contextmanager
def _told(call: str, path: Path) -> Iterator[None]:
    """Let an OSError out with the full path and the name of the call; an inner block's word counts."""
    try:
        yield
    except OSError as exc:
        if not hasattr(exc, "call"):
            exc.filename = str(path)
            if exc.filename2 is not None:
                del exc.filename2
            exc.call = call  # type: ignore[attr-defined]
        raise


def _open_regular(name: str, dir_fd: int | None) -> int:
    try:
        fd = os.open(name, READ_FLAGS, dir_fd=dir_fd)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(errno.EINVAL, NOT_REGULAR) from exc
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, NOT_REGULAR)
    return fd


def _read_header(fd: int, sealed: bool) -> tuple[Header | None, str | None]:
    begin = _plain_prefix if sealed else _prefix
    try:
        data = begin(fd, 1024)
        length = int.from_bytes(data[: fmt.LENGTH_SIZE], "little")
        end = fmt.LENGTH_SIZE + length
        if not 0 < length <= MAX_HEADER_BYTES:
            return None, "torn header"
        if len(data) < end + fmt.CRC_SIZE:
            data = begin(fd, end + fmt.CRC_SIZE)
    except zlib.error as exc:
        return None, f"unreadable: {exc}"
    json, stored = data[fmt.LENGTH_SIZE : end], data[end : end + fmt.CRC_SIZE]
    crc = int.from_bytes(stored, "little")
    if len(stored) < fmt.CRC_SIZE or crc32c(json) != crc:
        return None, "torn header"
    header = parse_header(json, crc)
    return header, None if header else "unreadable: its first frame is no header"


def _prefix(fd: int, size: int) -> bytes:
    return os.pread(fd, size, 0)


def _plain_prefix(fd: int, size: int) -> bytes:
    """The first `size` bytes of a gzip file's content, or what there is of them."""
    inflate, plain, offset = zlib.decompressobj(wbits=31), b"", 0
    while len(plain) < size and not inflate.eof and (chunk := os.pread(fd, 4096, offset)):
        offset += len(chunk)
        try:
            plain += inflate.decompress(chunk, size - len(plain))
        except zlib.error:
            if plain:
                break
            raise
    return plain
