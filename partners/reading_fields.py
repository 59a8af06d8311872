"""The regular expression of each field of a layout, for the reader: made from the layout alone, shared with no writer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from re import _parser  # type: ignore[attr-defined]
from zoneinfo import ZoneInfo

from partners.figures import UNIT
from partners.layout import Column, Layout, RecordField, is_number, scale_of
from partners.naming import BatchFacts

_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029"
_CONTROLS_OF_BYTES = "\x00-\x1f\x7f"
_LETTER_OF = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"(?:0[1-9]|1[0-2])", "d": r"(?:0[1-9]|[12]\d|3[01])", "j": r"[0-3]\d\d",
    "H": r"(?:[01]\d|2[0-3])", "I": r"(?:0[1-9]|1[0-2])", "M": r"[0-5]\d", "S": r"[0-5]\d", "p": "[AP]M", "f": r"\d{6}",
    "z": r"[+-]\d{4}",
}  # fmt: skip
_ISO = {"date": "%Y-%m-%d", "timestamp": "%Y-%m-%dT%H:%M:%S"}
_PUNCHED = {letter: (1, number) for number, letter in enumerate("{ABCDEFGHI")}
_PUNCHED |= {letter: (-1, number) for number, letter in enumerate("}JKLMNOPQR")}


class FieldExpressions:
    """The regular expression of each field of a layout."""

    def __init__(self, layout: Layout, columns: Mapping[str, Column], facts: BatchFacts) -> None:
        self._layout = layout
        self._columns = columns
        self._facts = facts
        self._by_bytes = layout.lengths == "bytes" and layout.encoding.startswith("utf-8")
        self._mark, self._escape = layout.quote_mark, layout.escape or layout.quote_mark

    def view(self, text: str) -> str:
        """Return a text as lines show it: lengths that count bytes are read byte by byte."""
        return text.encode().decode("latin-1") if self._by_bytes else text

    def title(self, f: RecordField, group: int) -> str:
        text = f.name
        if self._layout.fixed:
            text = text.ljust(f.length or 0)
        return f"(?P<f{group}>{self._literal(self.view(text))})"

    def field(self, f: RecordField, group: int | None) -> str:
        """Return the expression of a field; with `group`, its text can be read out under that number."""
        expression = self._inside(f)
        return f"(?P<f{group}>{expression})" if group is not None else expression

    def _inside(self, f: RecordField) -> str:
        static = self._static(f)
        if static is not None:
            return self._literal(self.view(self._padded(f, static)))
        if f.guid:
            return self._marked(self._padding(f, "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"))
        if f.column is None:
            return self._marked(self._number(f))
        empties = self._empties(f)
        column = self._columns[f.column]
        if f.map is not None:
            body = self._choice(f, f.map.values())
        elif is_number(f, self._columns):
            body = self._marked(self._number(f))
        elif column.type in ("date", "timestamp"):
            body = self._marked(self._padding(f, self._date(f, column.type)))
        elif f.values:
            body = self._choice(f, f.values)
        else:
            body = self._text(f)
        return f"(?:{'|'.join([body, *empties])})" if empties else body

    def _static(self, f: RecordField) -> str | None:
        """Return the text of a field that no row decides."""
        match f.source:
            case "constant":
                return f.constant or ""
            case "blank":
                return ""
            case "letter":
                return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[self._facts.revision - 1]
            case "date":
                return self._shown(f)
        return None

    def _shown(self, f: RecordField) -> str:
        """Return a date of the batch; written here anew, by the library's strftime where that is safe."""
        if f.date == "business":
            return _strftime(self._facts.business_date, f.format or "%Y-%m-%d")
        if f.format is None:
            moment = self._facts.made.astimezone(ZoneInfo("UTC"))
            fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
            return _strftime(moment, "%Y-%m-%dT%H:%M:%S") + fraction + "Z"
        return _strftime(self._facts.made.astimezone(ZoneInfo(f.zone or self._facts.time_zone)), f.format)

    def _padded(self, f: RecordField, text: str) -> str:
        if not f.length:
            return text
        room = f.length - (len(text.encode()) if self._by_bytes else len(text))
        padding = (f.fill or " ") * max(room, 0)
        return padding + text if f.align == "right" else text + padding

    def _literal(self, text: str) -> str:
        """Return the expression of a known text: with quotes, bare, or either."""
        bare = re.escape(text)
        if self._layout.fixed or self._layout.quoting == "never":
            return bare
        inner = text if self._escape == self._mark else text.replace(self._escape, self._escape * 2)
        quoted = re.escape(self._mark + inner.replace(self._mark, self._escape + self._mark) + self._mark)
        return quoted if self._layout.quoting == "always" else f"(?:{bare}|{quoted})"

    def _marked(self, body: str) -> str:
        """Return the expression of a text that needs no escape: with quotes, bare, or either."""
        if self._layout.fixed or self._layout.quoting == "never":
            return f"(?:{body})"
        mark = re.escape(self._mark)
        return (
            f"{mark}(?:{body}){mark}" if self._layout.quoting == "always" else f"(?:{mark}(?:{body}){mark}|(?:{body}))"
        )

    def _choice(self, f: RecordField, texts: Iterable[str]) -> str:
        return f"(?:{'|'.join(self._literal(self.view(self._padded(f, text))) for text in sorted(texts, key=len, reverse=True))})"

    def _empties(self, f: RecordField) -> list[str]:
        if not (f.optional or f.blank_when or f.required_when):
            return []
        if self._layout.fixed:
            return [" " * (f.length or 0)]
        return (
            [re.escape(self._layout.null), "", re.escape(self._mark * 2)]
            if self._layout.quoting != "never"
            else [re.escape(self._layout.null), ""]
        )

    # Texts

    def _text(self, f: RecordField) -> str:
        layout = self._layout
        controls = _CONTROLS_OF_BYTES if self._by_bytes else _CONTROLS
        size = f"{{{f.length}}}" if f.length else f"{{1,{f.max}}}" if f.max else "+"
        ahead = self._match_ahead(f)
        if layout.fixed:
            return f"{ahead}[^{controls}]{size}"
        delimiter, mark, escape = layout.delimited or "", re.escape(self._mark), re.escape(self._escape)
        banned = controls + "".join(re.escape(letter) for letter in {self._mark} if layout.quoting != "always")
        bare = self._bare(delimiter, banned, size)
        if layout.quoting == "never":
            return ahead + bare
        letter = (
            f"(?:[^{controls}{mark}]|{escape}{mark})"
            if self._escape == self._mark
            else f"(?:[^{controls}{mark}{escape}]|{escape}[{mark}{escape}])"
        )
        quoted = f"{mark}{letter}{size}{mark}"
        return quoted if layout.quoting == "always" else f"(?:{quoted}|{ahead}{bare})"

    def _bare(self, delimiter: str, banned: str, size: str) -> str:
        """Return the expression of a text that holds no delimiter; one of several letters may be begun inside."""
        first = re.escape(delimiter[0])
        if len(delimiter) == 1:
            return f"[^{banned}{first}]{size}"
        return f"(?:[^{banned}{first}]|(?!{re.escape(delimiter)}){first}){size}"

    def _match_ahead(self, f: RecordField) -> str:
        if not f.match or self._layout.transliterate or f.truncate or self._by_bytes:
            return ""
        fill = re.escape(f.fill or " ")
        before, after = (f"{fill}*", "") if f.align == "right" else ("", f"{fill}*")
        if not f.length:
            before = after = ""
        return f"(?={before}(?:{f.match}){after}{self._stop()})"

    def _stop(self) -> str:
        if self._layout.fixed:
            return ""
        return f"(?:{re.escape(self._layout.delimited or '')}|\\Z)"

    def plain_text(self, f: RecordField, is_digits: bool) -> Callable[[str], str]:
        """Return what takes padding and quotes off a field's text."""
        mark, escape, quoting, fill = (
            self._mark,
            self._escape,
            self._layout.quoting,
            f.fill or ("0" if is_digits else " "),
        )
        right = f.align == "right" or (is_digits and f.align is None)
        is_padded = bool(f.length) and not fills(f)

        def plain(text: str) -> str:
            if quoting != "never" and len(text) > 1 and text[0] == mark == text[-1]:
                text = text[1:-1].replace(escape + mark, mark)
                text = text if escape == mark else text.replace(escape * 2, escape)
            if is_padded:
                text = text.lstrip(fill) if right else text.rstrip(fill)
            return text or ("0" if is_digits else "")

        return plain

    # Dates

    def _date(self, f: RecordField, kind: str) -> str:
        found = ""
        for piece in re.findall(r"%.|[^%]", f.format or _ISO[kind], re.DOTALL):
            found += _LETTER_OF.get(piece[1:], "%") if piece[0] == "%" else re.escape(piece)
        return found if f.format or kind == "date" else rf"{found}(?:\.\d{{1,6}})?Z"

    def _padding(self, f: RecordField, body: str) -> str:
        if not f.length:
            return body
        fill = re.escape(f.fill or " ")
        return self._exactly(f, f"{fill}*{body}" if f.align == "right" else f"{body}{fill}*")

    # Numbers

    def _number(self, f: RecordField) -> str:
        """Return the expression of a number in its form; its exact width is part of it where zeros pad."""
        scale = scale_of(f, self._columns)
        sign, fill = f.sign or "minus", f.fill or ("0" if f.align != "left" else " ")
        tail = rf"\.\d{{{scale}}}" if scale and not f.implied else ""
        forms = []
        for before, after, last in _signs(sign, plain=f.plain_positive):
            taken = len(before) + bool(after) + (scale + 1 if tail else 0)
            room = (f.length or f.max or 1000) - taken - (1 if last else 0)
            if room < (0 if last and not tail else 1) - (1 if last else 0):
                continue
            if f.length and fill == "0":
                digits = rf"\d{{{room}}}"
            elif f.length or f.max:
                digits = rf"\d{{{0 if last and not tail else 1},{max(room, 0)}}}"
            else:
                digits = r"\d*" if last and not tail else r"\d+"
            body = digits + tail
            if last:
                body = f"{digits}{last}" if not tail else digits + rf"\.\d{{{scale - 1}}}" + last
                if tail and f.length and fill == "0":
                    body = rf"\d{{{room + 1}}}\.\d{{{scale - 1}}}{last}"
                elif tail:
                    body = rf"\d+\.\d{{{scale - 1}}}{last}"
            forms.append(re.escape(before) + body + after)
        form = f"(?:{'|'.join(forms)})"
        if f.length and fill != "0":
            padding = re.escape(fill)
            form = self._exactly(f, f"{form}{padding}*" if f.align == "left" else f"{padding}*{form}")
        return form

    def _exactly(self, f: RecordField, body: str) -> str:
        """Return the expression with its width; in a file of fixed widths the record looks at what is left instead."""
        if self._layout.fixed:
            return body
        return rf"(?=.{{{f.length}}}{re.escape(self._mark)}?{self._stop()}){body}"

    def is_loose(self, f: RecordField) -> bool:
        """Return whether padding of the field could be taken for that of its neighbour."""
        if f.column is None and not f.is_total and not f.number:
            return False
        is_date = f.column is not None and f.map is None and self._columns[f.column].type in ("date", "timestamp")
        number = f.map is None and (f.column is None or self._columns[f.column].is_number)
        return is_date or (number and (f.fill or ("0" if f.align != "left" else " ")) != "0")

    def number_parser(self, f: RecordField) -> Callable[[str], int]:
        """Return what reads a written number, in units of 10^-12."""
        scale = scale_of(f, self._columns)
        unit: int = UNIT // 10**scale
        fill = f.fill or ("0" if f.align != "left" else " ")
        is_marked = not self._layout.fixed and self._layout.quoting != "never"
        if (
            f.sign in (None, "minus", "none")
            and not is_marked
            and (f.implied or not scale)
            and fill == "0"
            and not f.optional
            and not f.blank_when
            and not f.required_when
        ):
            return lambda text: int(text) * unit

        def parse(text: str) -> int:
            text = text.strip(self._mark + " ") if is_marked else text.strip(" ")
            text = text.strip(fill) if fill not in "0 " else text
            if not text or text == self._layout.null:
                return 0
            factor = 1
            if f.sign == "overpunch" and text[-1] in _PUNCHED:
                factor, last = _PUNCHED[text[-1]]
                text = f"{text[:-1]}{last}"
            if text[-1] in "+-":
                factor, text = (-1 if text[-1] == "-" else 1), text[:-1]
            return factor * int(text.replace(".", "")) * unit

        return parse


def fills(f: RecordField) -> bool:
    """Return whether the field's own pattern takes texts of its full length only: then nothing is padded."""
    return bool(f.match and f.length and _parser.parse(f.match).getwidth()[0] >= f.length)


def _signs(sign: str, *, plain: bool) -> list[tuple[str, str, str]]:
    """Return what may stand before the digits, after them, and as the last digit."""
    match sign:
        case "leading":
            return [("", "", ""), ("-", "", "")] if plain else [("+", "", ""), ("-", "", "")]
        case "trailing":
            return [("", "", ""), ("", "-", "")] if plain else [("", "[+-]", "")]
        case "overpunch":
            return [("", "", "[0-9}J-R]" if plain else "[{A-I}J-R]")]
        case "minus":
            return [("", "", ""), ("-", "", "")]
        case _:
            return [("", "", "")]


def _strftime(value: date | datetime, form: str) -> str:
    """Write a date; years have four digits and half days are AM and PM, whatever the platform and the locale."""
    half = "AM" if getattr(value, "hour", 0) < 12 else "PM"
    pieces = re.findall(r"%.|[^%]", form, re.DOTALL)
    names = {"%Y": f"{value.year:04d}", "%y": f"{value.year:04d}"[2:], "%p": half}
    return "".join(names.get(piece) or (value.strftime(piece) if piece[0] == "%" else piece) for piece in pieces)
