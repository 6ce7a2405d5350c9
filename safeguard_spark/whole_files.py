"""Whole files: what a command writes for its user, of which a full disk or an interrupt leaves no part."""

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write_files(texts: Mapping[Path, str], *, mode: int | None = None, make_folders: bool = False) -> None:
    """Write these files in UTF-8: a reader of one sees its old text or the whole new one.

    No file is replaced before every text is on the disk, so one that does not fit or may not be written leaves all as
    they were; only if a disk goes away while they are replaced, the first may be new and the others old. A link stays,
    and the file that it leads to is replaced; a pipe or a device is written to directly. `mode`: of the files, whatever
    the umask; None keeps that of a file that is there. `make_folders`: make their folders, and remove them again if a
    file cannot be written. Raises OSError with the file that cannot be written as `filename`.
    """
    made = list[Path]()
    drafts = dict[Path, tuple[Path, Path]]()  # by file: the draft, and what it replaces
    file = Path()
    try:
        for file, text in texts.items():
            made += _make_folder(file.parent) if make_folders else []
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if target := _target(file):
                draft = _draft_beside(target)
                drafts[file] = draft, target
                made.append(draft)
                draft.touch()
                if (its_mode := _mode(target) if mode is None else mode) is not None:
                    draft.chmod(its_mode)  # before anything that others may not read is in it
                draft.write_text(text, encoding="utf-8")
        for file, text in texts.items():
            if file in drafts:
                draft, target = drafts[file]
                made += [] if target.exists() else [target]
                draft.replace(target)
            else:
                file.write_text(text, encoding="utf-8")
    except BaseException as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            error.filename = str(file)
        raise


def require_writable(file: Path) -> None:
    """Raise OSError if `write_files` could not write a file, which stays as it is."""
    target = _target(file)
    if target is None:  # not opened: to open a pipe and close it again would end its reader
        if not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    if target.exists():
        target.open("ab").close()
        target = _draft_beside(target)
    target.touch(exist_ok=False)
    target.unlink()


def _target(file: Path) -> Path | None:
    """The regular file, there or not yet, that a text replaces: where a link leads. None for a pipe or a device."""
    target = Path(os.path.realpath(file))
    return target if target.is_file() or not file.exists() else None


def _draft_beside(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.draft")


def _mode(file: Path) -> int | None:
    return file.stat().st_mode & 0o777 if file.exists() else None


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder; returns what was made, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
