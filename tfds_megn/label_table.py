"""labels.csv: which file wears what, as a text editor or a spreadsheet of any system writes it."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io

from tfds_megn.params import ATTRIBUTES

FILE_NAME = "labels.csv"
_FORM = f"file,label or file,{','.join(ATTRIBUTES[1:])}"
_COLUMNS = ("file", "label", *ATTRIBUTES[1:])
_DELIMITERS = ",;\t|"
# The mark of UTF-16 is the beginning of that of UTF-32.
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
      line: its number, from 1.
      file: the path as written.
      attributes: what is worn, in the order of ATTRIBUTES[1:].
    """

    line: int
    file: str
    attributes: tuple[bool, ...]


def read(where: str, data: bytes) -> tuple[list[Row], str | None]:
    """Reads a table of labels.

    UTF-8 and UTF-16 are told by their marks or contents; what is neither is read as Windows-1252. Cells are
    separated by commas, semicolons, tabs or bars; lines end as on any system. Blank lines and blank cells at
    the end of a line are left out.

    Args:
      where: what to call the file in errors.
      data: its contents.

    Returns:
      The rows, and a line that says which encoding was guessed, None where it is known.

    Raises:
      ValueError: it is no such table, or a label is unknown; the message is one line.
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
    """Returns the five attributes of a single label, in any case; None for an unknown one."""
    label = label.strip().lower()
    return tuple(label == name for name in ATTRIBUTES[1:]) if label in ATTRIBUTES else None


def _decode(where: str, data: bytes) -> tuple[str, str | None]:
    """Returns the text, and the name of the encoding where it was guessed."""
    if data.startswith(_WORKBOOKS):
        raise ValueError(f"{where}: a workbook of a spreadsheet program, not a table; save it as CSV")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding), None
            except UnicodeDecodeError as error:
                raise ValueError(f"{where}: not a table ({error}); save it as CSV in UTF-8") from None
    if b"\0" in data:  # Every second byte of plain text in UTF-16.
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
    """Returns the stripped cells of each line that is not blank, with the line's number."""
    first, _, rest = text.partition("\n")
    if first.strip().lower() in {f"sep={delimiter}".strip() for delimiter in _DELIMITERS}:  # Of Excel.
        text = f"\n{rest}"
    rows: list[tuple[int, list[str]]] = []
    errors = []
    for delimiter in _DELIMITERS:
        # The new lines of any system become \n.
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
    """Returns how many columns of a table have a name that is known."""
    return sum(cell.lower() in _COLUMNS for cell in rows[0][1]) if rows else 0


def _without_blank_end(cells: list[str], length: int) -> list[str]:
    """Returns cells without the blank ones after the first `length`, which spreadsheets add."""
    while len(cells) > length and not cells[-1]:
        cells = cells[:-1]
    return cells


def _check_header(where: str, header: list[str]) -> None:
    for column in header:
        if column not in _COLUMNS:
            raise ValueError(
                f"{where}: unknown label '{_shorten(column)}' in its first line; known are {', '.join(_COLUMNS)}"
            )
    single = "label" in header
    if "file" not in header or len(set(header)) != len(header) or len(header) < 2 or (single and len(header) > 2):
        raise ValueError(f"{where}: its first line must be {_FORM}")


def _row_attributes(where: str, row: dict[str, str]) -> tuple[bool, ...]:
    """Returns the five attributes of one row; a column that the table lacks counts as 0."""
    if "label" in row:
        worn = attributes_of(row["label"])
        if worn is None:
            raise ValueError(f"{where}: unknown label '{_shorten(row['label'])}'; known are {', '.join(ATTRIBUTES)}")
        return worn
    for name in ATTRIBUTES[1:]:
        if row.get(name, "0") not in ("0", "1"):
            raise ValueError(f"{where}: {name} is '{_shorten(row[name])}'; it must be 0 or 1")
    return tuple(row.get(name) == "1" for name in ATTRIBUTES[1:])


def _shorten(cell: str) -> str:
    """Returns a cell as a message shows it: one line of at most 50 characters."""
    cell = " ".join(cell.split())
    return cell if len(cell) <= 50 else f"{cell[:47]}..."
