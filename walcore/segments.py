"""The directory of a log: what lies in it, and every change that is made to it.

`list_segments` and `open_segment` read; they never follow a symbolic link, wait for a FIFO or trust a length.
`Directory` changes.  All of its calls go through one directory descriptor, so nothing outside is ever touched, and each
change ends with a sync of the directory: until then a power cut may undo it.  A new file is written and synced under a
name that the format doesn't match and only then gets its own, so no reader ever sees half a file.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from walcore import format as fmt
from walcore import lines
from walcore._core.encode import header_frame
from walcore.config import DEFAULT_FILE_MODE
from walcore.files import (
    COPY_BYTES,
    FOLDER_FLAGS,
    close_quietly,
    closing_at_error,
    copy_range,
    folder_mode,
    inherit,
    open_regular,
    told,
    write_all,
)
from walcore.headers import Header, NewSegment, PurgeMarker, Segment, parse_header, read_header
from walcore.system import calls, read_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = [
    "COPY_BYTES",
    "Directory",
    "Header",
    "NewSegment",
    "PurgeMarker",
    "Segment",
    "list_segments",
    "open_segment",
    "parse_header",
    "write_all",
]

# What file systems without hard links answer to link(2).
_NO_LINK: Final = {
    errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV
}  # fmt: skip
_NAMES_TOLD: Final = 100
_TYPES: Final = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"
}  # fmt: skip


def list_segments(directory: Path) -> list[Segment]:
    """Every file of `directory` named like a segment, in the order of the headers' numbers.

    Those without a readable header come first; of one number the plain file comes before the sealed one.  Needs no
    lock; a file that goes meanwhile is left out.

    Raises:
        FileNotFoundError: there is no such directory.
        OSError: a file can't be read for any reason but permission or what it is.
    """
    with Directory(directory) as opened:
        return opened.segments(forbidden=True)


def open_segment(path: Path) -> int:
    """Open a segment for reading and return the descriptor.

    Raises:
        OSError: also (EINVAL) when `path` is a link, FIFO, folder or device.
    """
    with told("open", path):
        return open_regular(str(path), None)


class Directory:
    """A log's folder, held by a descriptor.  Safe to share between threads.

    Every OSError that leaves it carries the full path as `filename` and the system call as `call`.
    """

    def __init__(
        self, path: Path, *, create: bool = False, within: int | None = None, file_mode: int | None = None
    ) -> None:
        """Open `path`; with `create`, make its last part if missing.

        `within` is the descriptor of the folder above, for a folder of ours; `file_mode` is WalConfig's.

        Raises:
            FileNotFoundError: it isn't there (or, with `create`, its parent isn't).
            NotADirectoryError: it is a file.
        """
        self.path = path
        self.fd = -1
        self._sync_errno = 0
        self._sync_lock = threading.RLock()
        self.file_mode = file_mode
        self._line_lock = threading.Lock()
        name = str(path) if within is None else path.name
        made = False
        if create:
            with told("mkdir", path), suppress(FileExistsError):
                calls.mkdir(name, folder_mode(file_mode), dir_fd=within)
                made = True
        # Only a folder that was there, named by the caller, may be reached through a link, none that is ours below it.
        no_follow = os.O_NOFOLLOW if made or within is not None else 0
        with told("open", path):
            self.fd = calls.open(name, FOLDER_FLAGS | no_follow, dir_fd=within)
        if made and file_mode is not None:
            with told("fchmod", path), closing_at_error(self.fd):
                calls.fchmod(self.fd, folder_mode(file_mode))

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
            calls.close(fd)

    def sync(self) -> None:
        """Bring the names in the directory to the disk.

        A failure stays: the system reports it once, to whoever syncs first, and would call the next sync a success,
        though names that another thread is about to rely on may be lost.
        """
        with told("fsync", self.path), self._sync_lock:  # nobody is told of a success before the failure is known
            if self._sync_errno:
                raise OSError(self._sync_errno, os.strerror(self._sync_errno))
            try:
                calls.fsync(self.fd)
            except OSError as exc:
                self._sync_errno = exc.errno or errno.EIO
                raise

    def sync_parent(self) -> None:
        """Bring the directory's own name to the disk.

        Done at every opening: the process that made the directory may have been killed before it could.  A parent that
        may not be read is passed over.
        """
        with told("fsync", self.path.parent), suppress(PermissionError):
            fd = calls.open("..", FOLDER_FLAGS, dir_fd=self.fd)
            try:
                calls.fsync(fd)
            finally:
                calls.close(fd)

    # -- what is there ------------------------------------------------------------------------------------------------

    def names(self) -> Iterator[str]:
        """All names in the directory, in no order, one at a time: millions may be there that aren't ours."""
        with told("readdir", self.path):
            fd = calls.open(".", FOLDER_FLAGS, dir_fd=self.fd)  # a place in the list of its own
            try:
                with calls.scandir(fd) as entries:
                    for entry in entries:
                        yield entry.name
            finally:
                calls.close(fd)

    def segments(self, *, forbidden: bool = False) -> list[Segment]:
        """What `list_segments` returns; without `forbidden` one that may not be opened is a PermissionError."""
        found = [self.segment(name, forbidden=forbidden) for name in self.names() if fmt.is_segment_name(name)]
        return sorted((s for s in found if s), key=lambda s: (s.number, s.sealed, s.name))

    def segment(self, name: str, *, forbidden: bool = False) -> Segment | None:
        """The segment called `name`, its header read; None if it isn't there.

        With `forbidden` one that may not be opened is one with a problem, which is for those who change nothing.
        """
        sealed, path = name.endswith(fmt.SEALED_SUFFIX), self.path / name
        header: Header | None = None
        problem: str | None = None
        fd = -1
        try:
            with told("stat", path):
                status = calls.stat(name, dir_fd=self.fd, follow_symlinks=False)
            if len(name) > fmt.MAX_NAME_CHARS:
                problem = fmt.NAME_TOO_LONG
            elif stat.S_ISREG(status.st_mode):
                problem, fd = "empty", self.open(name)
            else:
                what = _TYPES.get(stat.S_IFMT(status.st_mode), "a device")
                problem = f"{what}, {fmt.NOT_REGULAR}"
        except FileNotFoundError:
            return None
        except PermissionError as exc:
            if exc.call == "stat" or not forbidden:  # type: ignore[attr-defined]
                raise
            problem = f"unreadable: {exc.strerror}"
        if fd >= 0:
            try:
                with told("stat", path):
                    status = calls.fstat(fd)
                with told("read", path):
                    header, problem = read_header(fd, sealed) if status.st_size else (None, problem)
            finally:
                calls.close(fd)
        return Segment(path, name, sealed, status.st_size, status.st_ino, header, problem)

    def has(self, name: str) -> bool:
        """Whether anything is called `name`."""
        with told("stat", self.path / name):
            try:
                calls.stat(name, dir_fd=self.fd, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def open(self, name: str) -> int:
        """Open the regular file `name` for reading."""
        with told("open", self.path / name):
            return open_regular(name, self.fd)

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """The descriptor of `open`, closed at the end of the block."""
        fd = self.open(name)
        try:
            yield fd
        finally:
            calls.close(fd)

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
            with told("write", self.path / temporary):
                write_all(fd, frame)
            self.sync_data(fd, temporary)
            with told("stat", self.path / temporary):
                inode = calls.fstat(fd).st_ino
            name = self.publish_free(temporary, first_id)
            self.sync()
        except BaseException:
            close_quietly(fd)
            for left in (temporary, name):
                with suppress(OSError):
                    self.drop(left)
            raise
        crc = int.from_bytes(frame[-fmt.CRC_SIZE :], "little")
        header = Header(store, created, number, first_id, crc, len(frame))
        return NewSegment(fd, self.path / name, header, len(frame), inode)

    def publish_free(self, temporary: str, first_id: int) -> str:
        """Give a synced temporary file the first free name for `first_id`; the caller syncs the directory."""
        zeros = (fmt.segment_name(first_id, zeros) for zeros in range(fmt.MAX_NAME_ZEROS + 1))
        above = (fmt.segment_name(number) for number in itertools.count(max(first_id, 0) + 1))
        names = itertools.chain(zeros, above)  # which have no end
        while True:
            name = next(names)
            # Plain before sealed: in that order a segment being sealed can't slip through between the two looks.
            if not self.has(name) and not self.has(name + fmt.SEALED_SUFFIX):
                with suppress(FileExistsError):
                    self.publish(temporary, name)
                    return name

    def create(self, temporary: str) -> int:
        """Make the temporary file of that name, in place of one left behind, and open it to be written."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = DEFAULT_FILE_MODE if self.file_mode is None else self.file_mode
        with told("open", self.path / temporary):
            try:
                fd = calls.open(temporary, flags, mode, dir_fd=self.fd)
            except FileExistsError:
                calls.unlink(temporary, dir_fd=self.fd)
                fd = calls.open(temporary, flags, mode, dir_fd=self.fd)
        if self.file_mode is not None:  # whatever the umask is
            with told("fchmod", self.path / temporary), closing_at_error(fd):
                calls.fchmod(fd, mode)
        return fd

    def sync_data(self, fd: int, name: str) -> None:
        """Bring the data of `fd`, and the size that it needs to be read, to the disk; `name` is told in an error."""
        with told("fdatasync", self.path / name):
            calls.fdatasync(fd)

    def publish(self, temporary: str, name: str) -> None:
        """Give a synced temporary file its name, replacing nothing.  The caller syncs the directory.

        The temporary name goes, if it can: where it can't the next opening takes it away, and to call that a failure
        would have another segment of the same number made while the first keeps its name.

        Raises:
            FileExistsError: the name is taken; the temporary file is still there.
        """
        with told("link", self.path / name):
            try:
                calls.link(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in _NO_LINK:
                    raise
                self._rename_free(temporary, name)
                return
        with suppress(OSError):
            self.drop(temporary)

    def _rename_free(self, temporary: str, name: str) -> None:
        # Look, then rename: the lock keeps other writers from taking the name in between.
        if self.has(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        calls.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def replace(self, temporary: str, name: str) -> None:
        """Rename a synced temporary file over `name`, and sync the directory."""
        with told("rename", self.path / name):
            calls.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        self.sync()

    def drop(self, name: str) -> None:
        """Unlink `name` if it is there, without a sync: for files that nobody will look for."""
        with told("unlink", self.path / name), suppress(FileNotFoundError):
            calls.unlink(name, dir_fd=self.fd)

    def delete(self, segment: Segment) -> bool:
        """Delete the very file that `segment` describes, and sync; False if another one has the name, or none.

        Its index goes with it.
        """
        try:
            with told("stat", segment.path):
                status = calls.stat(segment.name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if status.st_ino != segment.inode:
            return False
        if segment.sealed:
            with suppress(OSError):  # nobody needs it, and a folder in its place stays
                self.drop(segment.name + fmt.INDEX_SUFFIX)
        with told("unlink", segment.path):
            calls.unlink(segment.name, dir_fd=self.fd)
        self.sync()
        return True

    def remove_temporaries(self) -> tuple[int, list[str]]:
        """Unlink every temporary file that a crash left; returns how many, and the first of the names."""
        removed, first = 0, []
        for name in self.names():
            if name.endswith(fmt.TEMPORARY_SUFFIX):
                with suppress(IsADirectoryError):
                    self.drop(name)
                    removed += 1
                    first += [name] * (removed <= _NAMES_TOLD)
        return removed, first

    def copy(self, name: str, folder: Directory, temporary: str, start: int, end: int) -> int:
        """Copy bytes `start` to `end` of `name` to a temporary file of `folder`, on disk when it returns.

        Who could read `name` can read the copy.

        Returns:
            The copy's inode.

        Raises:
            OSError: also (EIO) when `name` ends before `end`; the temporary file is gone.
        """
        source = self.open(name)
        try:
            target = folder.create(temporary)
            try:
                with told("copy", self.path / name):
                    inherit(source, target)
                    copy_range(source, target, start, end)
                folder.sync_data(target, temporary)
                with told("stat", folder.path / temporary):
                    return calls.fstat(target).st_ino
            except BaseException:
                with suppress(OSError):
                    folder.drop(temporary)
                raise
            finally:
                calls.close(target)
        finally:
            calls.close(source)

    # -- small files --------------------------------------------------------------------------------------------------

    def write_line(self, name: str, fields: dict[str, Any], limit: int = lines.LINE_BYTES) -> None:
        """Put `fields` into the file `name` as one JSON line with its own CRC-32C; on disk when it returns.

        Raises:
            OSError: also (EFBIG) when the line would have more than `limit` bytes and so not be read back.
        """
        line = lines.checked(fields)
        if len(line) > limit:
            raise OSError(errno.EFBIG, f"{len(line)} bytes, at most {limit} are read back", str(self.path / name))
        temporary = name + fmt.TEMPORARY_SUFFIX
        with self._line_lock:
            fd = self.create(temporary)
            try:
                with told("write", self.path / temporary):
                    write_all(fd, line)
                self.sync_data(fd, temporary)
            except BaseException:
                with suppress(OSError):
                    self.drop(temporary)
                raise
            finally:
                calls.close(fd)
            self.replace(temporary, name)

    def read_line(self, name: str) -> dict[str, Any] | None:
        """The fields that `write_line` put into `name`; None if it is missing, torn, garbled or far too large."""
        return lines.parse(self._small(name, lines.LINE_BYTES))

    def _small(self, name: str, limit: int) -> bytes:
        """What a small file holds; nothing if it is missing or above `limit` bytes."""
        with told("open", self.path / name):
            try:
                fd = open_regular(name, self.fd)
            except FileNotFoundError:
                return b""
        try:
            with told("read", self.path / name):
                size = calls.fstat(fd).st_size
                return read_at(fd, size, 0) if size <= limit else b""
        finally:
            calls.close(fd)

    def write_marker(self, marker: PurgeMarker) -> None:
        """Make a purge's marker durable: from here on its files count as gone."""
        fields = {"nextLsn": marker.next_lsn, "store": marker.store}
        rows = {"headed": sorted(marker.headed), "headless": sorted(marker.headless)}
        self.write_line(fmt.PURGE_NAME, fields | rows, lines.MARKER_BYTES)

    def read_marker(self) -> PurgeMarker | None:
        """The marker of a purge that has begun and not ended; None if there is none, or none that can be believed."""
        return lines.parse_marker(self._small(fmt.PURGE_NAME, lines.MARKER_BYTES))
