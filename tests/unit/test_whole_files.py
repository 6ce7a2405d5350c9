"""Files that a command writes for its user: all of them, or none."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from safeguard_spark.cli.options import require_folder
from safeguard_spark.whole_files import write_files
from tests.unit.commands import Safeguard
from tests.unit.samples import write_policy

SCRIPTED = ("--set", "engine.kind=scripted")


def files(folder: Path) -> dict[str, str]:
    """What is in a folder, folders included, each with its text."""
    return {
        str(path.relative_to(folder)): "" if path.is_dir() else path.read_text() for path in sorted(folder.rglob("*"))
    }


def test_either_all_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "folder").mkdir()
    before = files(tmp_path)
    texts = {tmp_path / "old": "new", tmp_path / "x" / "y" / "z": "z"}
    for last in ("folder", "old/below", "a" * 300, "/proc/page"):
        with pytest.raises(OSError, match=r".") as caught:
            write_files({**texts, tmp_path / last: ""}, make_folders=True)
        assert (caught.value.filename, files(tmp_path)) == (str(tmp_path / last), before)
    write_files(texts, mode=0o600, make_folders=True)
    assert files(tmp_path) == {**before, "old": "new", "x": "", "x/y": "", "x/y/z": "z"}
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o600


def test_a_link_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to("folder/real")
    with real.open() as reader:
        write_files({link: "new"})
        assert reader.read() == "old"  # nobody reads a half of each
    assert link.is_symlink() and real.read_text() == "new" and os.listdir(real.parent) == ["real"]
    write_files({Path("/dev/null"): "new"})
    assert not Path("/dev/null").is_file()
    end, start = os.pipe()
    for file in (Path(f"/dev/fd/{start}"), Path(f"/proc/self/fd/{start}")):
        require_folder(file)
        write_files({file: "new"})
        assert os.read(end, 10) == b"new"
    os.close(end)
    os.close(start)


def test_who_may_read_a_file_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    file.chmod(0o640)
    write_files({file: "new"})
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_page_that_can_be_written_is_left_as_it_is_until_then(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    (tmp_path / "old").write_text("old")
    for name in ("link", "old", "new"):
        require_folder(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["link", "old"] and (tmp_path / "old").read_text() == "old"
    os.mkfifo(tmp_path / "fifo")
    require_folder(tmp_path / "fifo")  # does not wait for a reader


def _at_most(num_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


@pytest.mark.parametrize(
    ("num_bytes", "argv", "code", "message"),
    [
        (100, ("new", "gifts"), 3, "gifts/1.0.0/policy.md cannot be written: File too large. Nothing was written;"),
        (2000, ("new", "market@1.1.0"), 3, "policies/schemas/policy.schema.json cannot be written: File too large."),
        (900, ("import", "spam.txt"), 3, "policies/spam/1.0.0/policy.md cannot be written: File too large."),
        (300, ("export-pack", "market", "pack"), 2, "a temporary folder, which cannot be written: File too large."),
    ],
)  # fmt: skip
def test_what_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, num_bytes: int, argv: tuple[str, ...], code: int, message: str
) -> None:
    write_policy(tmp_path / "policies")
    (tmp_path / "spam.txt").write_text(f"# Spam\n\nAnswer 1 or 0.\n\n## Offers (SP1)\n{'Offers. ' * 300}")
    before = files(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "safeguard_spark", *argv],
        cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=lambda: _at_most(num_bytes),
    )  # fmt: skip
    assert (ran.returncode, files(tmp_path)) == (code, before), ran.stderr
    assert message in ran.stderr and ran.stderr.count("\n") == 1


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv, and is of use to root alone")
def test_a_folder_that_may_only_be_read_is_named(tmp_path: Path) -> None:
    write_policy(tmp_path / "policies")
    (tmp_path / "spam.txt").write_text("# Spam\n\nAnswer 1 or 0.\n\n## Offers (SP1)\nOffers.\n")
    (tmp_path / "locked").mkdir(mode=0o555)
    before = files(tmp_path)
    # Root without the right to write everywhere; another user has none anyway.
    user = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    for argv in (
        ("new", "gifts", "--policies", "locked"),
        ("import", "spam.txt", "--policies", "locked/below"),
        ("export-pack", "market", "locked"),
    ):
        ran = subprocess.run(
            [*user, sys.executable, "-m", "safeguard_spark", *argv],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, files(tmp_path)) == (3, before)
        assert ran.stderr.startswith("Error: locked") and "cannot be written: Permission denied." in ran.stderr
        assert ran.stderr.count("\n") == 1
    (tmp_path / "locked").chmod(0o755)
    (tmp_path / "locked" / "page.html").touch()
    (tmp_path / "locked").chmod(0o555)
    ran = subprocess.run(
        [*user, sys.executable, "-m", "safeguard_spark", "verify", "market", *SCRIPTED, "--html", "locked/page.html"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")  # before anything is paid for
    assert ran.stderr == "Error: --html locked/page.html cannot be written: Permission denied. Name another file.\n"


def test_figures_that_were_paid_for_are_printed_though_the_page_cannot_be_written(
    safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(texts: dict[Path, str]) -> None:
        raise OSError(28, "No space left on device", str(next(iter(texts))))

    write_policy(Path("policies"))
    command = (
        "verify",
        "market",
        *SCRIPTED,
        "--set",
        "engine.args.words={replica: M1, stolen: M2}",
        "--html",
        "a.html",
    )
    usual = safeguard(*command)
    assert "Written: a.html" in usual.err and Path("a.html").is_file()
    monkeypatch.setattr("safeguard_spark.cli.options.write_files", no_room)
    ran, as_json = safeguard(*command), safeguard(*command, "--json")
    assert ran.out == usual.out and ran.code == (usual.code or 2)
    assert "Error: --html a.html cannot be written: No space left on device." in ran.err
    assert json.loads(as_json.out)[0]["policy"] == "market@1.0.0"
