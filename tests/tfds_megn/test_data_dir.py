"""Errors for prepared data that cannot be written; the operating system gives the expected free space."""

import errno
import os
import shutil
import tempfile

import pytest

from tfds_megn import data_dir


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("worded", [False, True])
def test_full_disks_name_folder_and_space(tmp_path, code, worded):
    free = shutil.disk_usage(tmp_path).free
    error = RuntimeError(f"write: {os.strerror(code)} [x.cc:12]") if worded else OSError(code, os.strerror(code))
    with pytest.raises(data_dir.DataDirError, match=rf"^{tmp_path}/new: .* set data_dir to another folder$") as caught:
        with data_dir.writing(tmp_path / "new"):
            raise error
    number, unit = str(caught.value).partition("(")[2].split()[:2]
    assert float(number.replace(",", "")) * {"MiB": 2**20, "GiB": 2**30}[unit] == pytest.approx(free, rel=0.2)


def test_photos_for_a_remote_folder_wait_on_a_local_disk():
    with pytest.raises(data_dir.DataDirError, match=rf"^{tempfile.gettempdir()}: .*; set TMPDIR to another folder$"):
        with data_dir.writing("gs://bucket/data", "--config.data_dir"), data_dir.writing("gs://bucket/data"):
            raise OSError(errno.ENOSPC, "full")


def test_the_outer_option_is_named(tmp_path):
    with pytest.raises(OSError, match=r"set --config.data_dir to another folder$"):
        with data_dir.writing(tmp_path, "--config.data_dir"), data_dir.writing(tmp_path):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x"))


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/another/folder"),
        FileNotFoundError("no photos"),
        ValueError("a mistake"),
        OSError(errno.ENOTEMPTY, "Directory not empty", "/x"),
    ],
)
def test_other_errors_pass(tmp_path, error):
    with pytest.raises(type(error)) as caught, data_dir.writing(tmp_path):
        raise error
    assert caught.value is error
