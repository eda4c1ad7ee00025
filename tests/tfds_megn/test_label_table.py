"""Tables of labels as programs of all systems write them."""

import pytest

from tfds_megn import label_table
from tfds_megn.params import ATTRIBUTES

TEXT = "file,label\nd\u00e9j\u00e0.png,Mask\nb c.png,none\n"
ROWS = [("d\u00e9j\u00e0.png", "mask"), ("b c.png", "none")]


def read(data: bytes) -> tuple[list[tuple[str, str]], str | None]:
    rows, note = label_table.read("labels.csv", data)
    names = [ATTRIBUTES[row.attributes.index(True) + 1 if any(row.attributes) else 0] for row in rows]
    return [(row.file, name) for row, name in zip(rows, names, strict=True)], note


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_are_known(encoding):
    assert read(TEXT.encode(encoding)) == (ROWS, None)
    marked_big_endian = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert read(marked_big_endian) == (ROWS, None)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("cp1252", "Windows-1252"), ("latin-1", "Windows-1252")],
)
def test_encodings_that_are_guessed_are_said(encoding, name):
    rows, note = read(TEXT.encode(encoding))
    assert rows == ROWS
    assert note.startswith(f"labels.csv: its encoding is not stated; read as {name}, ") and "\n" not in note


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoted", [False, True])
def test_delimiters_and_line_ends(delimiter, newline, quoted):
    cells = [["file", "mask", "beard"], ["a.png", "1", "0"], ["d;e,f.png", "0", "1"]]
    if not quoted:
        cells[2][0] = "b.png"
    lines = [delimiter.join(f'"{cell}"' if quoted else cell for cell in line) for line in cells]
    rows, _ = label_table.read("labels.csv", newline.join([*lines, ""]).encode())
    assert [(row.line, row.file, row.attributes[0], row.attributes[3]) for row in rows] == [
        (2, "a.png", True, False),
        (3, cells[2][0], False, True),
    ]


def test_what_spreadsheets_add():
    text = "sep=;\r\nfile;label;;\r\na.png;mask;;\r\n;;;\r\n"
    assert read(text.encode()) == ([("a.png", "mask")], None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(50), "a workbook of a spreadsheet program, not a table; save it as CSV"),
        (b'file,"ha\nt"\na.png,1\n', "unknown label 'ha t' in its first line"),
        (b'file,label\na.png,"ha\nt"\n', "line 3: unknown label 'ha t'"),
        (b"file," + b"x" * 999, "unknown label 'xxx"),
        (b"\xff\xfea", "not a table .*; save it as CSV in UTF-8"),
        (b"file,label\na.png,\xe9t\xe9\n", "line 2: unknown label '\u00e9t\u00e9'"),
        (b'file,label\n"a.png,mask\n', "not a table with commas between its cells"),
        (bytes(range(256)), "unknown label|not a table|first line"),
    ],
)
def test_refused_in_one_line(data, words):
    with pytest.raises(ValueError, match=f"^labels.csv.*({words})") as caught:
        label_table.read("labels.csv", data)
    assert "\n" not in str(caught.value)


def test_numbers_and_truth_values_are_those_of_pandas():
    text = "File,Mask,beard\na.png,True,0.0\nb.png,FALSE,1\nc.png,1.0,false\n"
    assert read(text.encode()) == ([("a.png", "mask"), ("b.png", "beard"), ("c.png", "mask")], None)
