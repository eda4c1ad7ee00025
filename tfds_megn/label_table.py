"""Reader of labels.csv, the attributes of each file, as any text editor or spreadsheet program writes it."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io

from tfds_megn.params import ATTRIBUTES

FILE_NAME = "labels.csv"
_FORM = f"file,label or file,{','.join(ATTRIBUTES[1:])}"
_COLUMNS = ("file", "label", *ATTRIBUTES[1:])
_BOOLS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}  # pandas writes all three
_DELIMITERS = ",;\t|"
# The byte order mark of UTF-16 is a prefix of that of UTF-32, so UTF-32 comes first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      line: line number, from 1.
      file: path as written.
      attributes: one bool for each of ATTRIBUTES[1:].
    """

    line: int
    file: str
    attributes: tuple[bool, ...]


def read(where: str, data: bytes) -> tuple[list[Row], str | None]:
    """Reads a table of labels.

    UTF-8 and UTF-16 are detected by their marks or contents; any other text is read as Windows-1252. Cells are
    separated by commas, semicolons, tabs or bars; lines may end as on any system. Blank lines, and blank cells at the
    end of a line, are ignored.

    Args:
      where: name of the file in errors.
      data: content of the file.

    Returns:
      The rows, and a line with the encoding that was guessed, None where it is known.

    Raises:
      ValueError: the content is not such a table, or a label is unknown; the message is one line.
    """
    text, guess = _decode(where, data)
    rows = _read_cells(where, text)
    if not rows:
        raise ValueError(f"{where}: empty; its first line is {_FORM}")
    header = [cell.lower() for cell in _without_blank_end(rows[0][1], 0)]
    _check_header(where, header)
    found = []
    for line, cells in rows[1:]:
        cells = _without_blank_end(cells, len(header))
        if len(cells) != len(header):
            raise ValueError(f"{where} line {line}: {len(cells)} cells under {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        found.append(Row(line, row["file"], _row_attributes(f"{where} line {line}", row)))
    note = f"{where}: its encoding is not stated; read as {guess}, save it as UTF-8 if names are wrong"
    return found, note if guess else None


def attributes_of(label: str) -> tuple[bool, ...] | None:
    """Returns the five attributes of a single label, upper or lower case; None for an unknown label."""
    label = label.strip().lower()
    return tuple(label == name for name in ATTRIBUTES[1:]) if label in ATTRIBUTES else None


def _decode(where: str, data: bytes) -> tuple[str, str | None]:
    """Returns the text, and the name of the encoding if it was guessed, else None."""
    if data.startswith(_WORKBOOKS):
        raise ValueError(f"{where}: a workbook of a spreadsheet program, not a table; save it as CSV")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding), None
            except UnicodeDecodeError as error:
                raise ValueError(f"{where}: not a table ({error}); save it as CSV in UTF-8") from None
    if b"\0" in data:  # In UTF-16, every second byte of ASCII text is 0.
        encoding = "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be"
        try:
            return data.decode(encoding), "UTF-16"
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not a table ({error}); save it as CSV in UTF-8") from None
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def _read_cells(where: str, text: str) -> list[tuple[int, list[str]]]:
    """Returns line number and stripped cells of each line that is not blank."""
    first, _, rest = text.partition("\n")
    if first.strip().lower() in {f"sep={delimiter}".strip() for delimiter in _DELIMITERS}:  # A line that Excel reads.
        text = f"\n{rest}"
    rows: list[tuple[int, list[str]]] = []
    errors = []
    for delimiter in _DELIMITERS:
        # newline=None turns the line ends of any system into \n.
        reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True, skipinitialspace=True)
        try:
            found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            errors.append(str(error))
            continue
        found = [(line, cells) for line, cells in found if any(cells)]
        if not rows or _num_columns(found) > _num_columns(rows):
            rows = found
        if _num_columns(rows) > 1:
            break
    if errors and _num_columns(rows) < 2:
        raise ValueError(f"{where}: not a table with commas between its cells ({errors[0]})")
    return rows


def _num_columns(rows: list[tuple[int, list[str]]]) -> int:
    """Returns the number of columns with a known name."""
    return sum(cell.lower() in _COLUMNS for cell in rows[0][1]) if rows else 0


def _without_blank_end(cells: list[str], length: int) -> list[str]:
    """Returns cells without blank ones at the end, which spreadsheet programs add; at least `length` are kept."""
    while len(cells) > length and not cells[-1]:
        cells = cells[:-1]
    return cells


def _check_header(where: str, header: list[str]) -> None:
    """Raises ValueError when the first line has unknown, missing or repeated columns."""
    for column in header:
        if column not in _COLUMNS:
            raise ValueError(
                f"{where}: unknown label '{_shorten(column)}' in its first line; known are {', '.join(_COLUMNS)}"
            )
    single = "label" in header
    if "file" not in header or len(set(header)) != len(header) or len(header) < 2 or (single and len(header) > 2):
        raise ValueError(f"{where}: its first line must be {_FORM}")


def _row_attributes(where: str, row: dict[str, str]) -> tuple[bool, ...]:
    """Returns the five attributes of one row; a missing column counts as 0."""
    if "label" in row:
        attributes = attributes_of(row["label"])
        if attributes is None:
            raise ValueError(f"{where}: unknown label '{_shorten(row['label'])}'; known are {', '.join(ATTRIBUTES)}")
        return attributes
    for name in ATTRIBUTES[1:]:
        if row.get(name, "0").lower() not in _BOOLS:
            raise ValueError(f"{where}: {name} is '{_shorten(row[name])}'; it must be 0 or 1")
    return tuple(_BOOLS[row.get(name, "0").lower()] for name in ATTRIBUTES[1:])


def _shorten(cell: str) -> str:
    """Returns a cell as one line of at most 50 characters."""
    cell = " ".join(cell.split())
    return cell if len(cell) <= 50 else f"{cell[:47]}..."
