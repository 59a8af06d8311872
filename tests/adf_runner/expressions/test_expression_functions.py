"""Facts about functions that the public documentation states otherwise, or not at all. One sentence, one fact."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adf_runner.expressions import ExpressionError, Scope, evaluate

NOON = Scope(now=lambda: datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC))


def ask(text: str, /, **parameters: object) -> object:
    return evaluate(text, Scope(parameters=parameters, now=NOON.now))


def refused(text: str, /, **parameters: object) -> str:
    with pytest.raises(ExpressionError) as caught:
        ask(text, **parameters)
    return str(caught.value)


def test_searches_ignore_case_but_contains_and_replace_do_not() -> None:
    assert ask("@startsWith('Report.CSV', 'report')") is True
    assert ask("@indexOf('aXbX', 'x')") == 1
    assert ask("@contains('abc', 'B')") is False
    assert ask("@replace('aAa', 'a', 'x')") == "xAx"


def test_searches_compare_what_a_reader_sees() -> None:
    assert ask("@indexOf('cafe\u0301', 'é')") == 3
    assert ask("@startsWith('a\u00adb', 'ab')") is True
    assert ask("@indexOf('é', 'e')") == -1
    assert ask("@indexOf(pipeline().parameters.text, pipeline().parameters.line)", text="a\r\nb", line="\n") == -1


def test_names_in_an_object_are_compared_as_a_reader_sees_them() -> None:
    assert ask("@contains(json('{\"é\":1}'), 'E\u0301')") is True
    assert ask("@contains(json('{\"ab\":1}'), 'A\u00adb')") is True
    assert ask("@contains(json('{\"é\":1}'), 'e')") is False
    assert ask("@contains(json('{\"Straße\":1}'), 'STRASSE')") is False


def test_length_and_positions_count_utf16_units() -> None:
    assert ask("@length('😀')") == 2
    assert ask("@indexOf('😀b', 'b')") == 2
    assert ask("@substring('a😀b', 1, 2)") == "😀"


def test_upper_case_keeps_letters_that_would_become_two() -> None:
    assert ask("@toUpper('Straße')") == "STRAßE"


def test_split_without_a_separator_returns_the_whole_text() -> None:
    assert ask("@split('abc', '')") == ["abc"]


def test_equals_compares_numbers_by_value_but_only_at_the_top() -> None:
    assert ask("@equals(1, 1.0)") is True
    assert ask("@equals(createArray(1), createArray(1.0))") is False
    assert ask("@contains(createArray(1), 1.0)") is False
    assert ask("@equals(true, 1)") is False


def test_union_of_objects_replaces_inner_objects() -> None:
    assert ask("""@union(json('{"a":{"b":1}}'), json('{"a":{"c":2}}'))""") == {"a": {"c": 2}}


def test_union_keeps_the_first_place_and_the_last_value() -> None:
    assert ask("""@string(union(json('[{"a":1,"b":2},3]'), json('[{"b":2,"a":1}]')))""") == '[{"b":2,"a":1},3]'


def test_integers_overflow_at_64_bits() -> None:
    assert ask("@add(9223372036854775806, 1)") == 2**63 - 1
    assert "64-bit" in refused("@add(9223372036854775807, 1)")
    assert "64-bit" in refused("@div(-9223372036854775808, -1)")


def test_division_truncates_and_the_rest_keeps_its_sign() -> None:
    assert ask("@div(-11, 5)") == -2
    assert ask("@mod(-11, 5)") == -1


def test_int_reads_a_text_by_way_of_a_double() -> None:
    assert ask("@int('1e3')") == 1000
    assert ask("@int(' 1,000 ')") == 1000
    assert ask("@int('9007199254740993')") == 2**53
    assert "int" in refused("@int('10.5')")


def test_a_sign_may_follow_the_number_in_a_text() -> None:
    assert ask("@float('5-')") == -5.0
    assert ask("@float(' 5 - ')") == -5.0
    assert ask("@float('5 +')") == 5.0
    assert "float" in refused("@float('-5 -')")
    assert "int" in refused("@int('5-')")


def test_int_takes_no_text_that_overflows() -> None:
    assert "int" in refused("@int('9223372036854775807')")


def test_positions_and_counts_are_cut_to_32_bits() -> None:
    assert ask("@take('abc', 4294967297)") == "a"
    assert "skip" in refused("@skip('abc', 2147483648)")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.0", "1"),
        ("0.1", "0.1"),
        ("1e16", "10000000000000000"),
        ("1e17", "1E+17"),
        ("0.0001", "0.0001"),
        ("0.00001", "1E-05"),
    ],
)
def test_doubles_are_printed_the_dotnet_way(number, text) -> None:
    assert ask(f"@string({number})") == text


def test_whole_doubles_keep_their_point_inside_json() -> None:
    assert ask("@string(createArray(1.0, 1e20))") == "[1.0,1E+20]"


def test_range_makes_at_most_100_000_numbers() -> None:
    assert ask("@length(range(1, 100000))") == 100_000
    assert "range" in refused("@range(1, 100001)")


def test_dates_keep_what_they_say_about_their_zone() -> None:
    assert ask("@addDays('2026-01-01', 0)") == "2026-01-01T00:00:00.0000000"
    assert ask("@addDays('2026-01-01T00:00:00Z', 0)") == "2026-01-01T00:00:00.0000000Z"
    assert ask("@addDays('2026-01-01T01:00:00+01:00', 0)") == "2026-01-01T00:00:00.0000000+00:00"


def test_gmt_follows_a_time_only_where_a_blank_parts_date_and_time() -> None:
    assert ask("@addDays('2026-01-01 10:20:30GMT', 0)") == "2026-01-01T10:20:30.0000000Z"
    assert "not a date" in refused("@addDays('2026-01-01T10:20:30GMT', 0)")
    assert "not a date" in refused("@addDays('2026-01-01T10:20GMT', 0)")


def test_eighth_digit_of_a_second_is_rounded() -> None:
    assert ask("@addDays('2026-12-31T23:59:59.99999995Z', 0)") == "2027-01-01T00:00:00.0000000Z"


def test_month_end_is_kept_inside_the_month() -> None:
    assert ask("@addToTime('2024-01-31', 1, 'Month', 'yyyy-MM-dd')") == "2024-02-29"
    assert ask("@subtractFromTime('2024-02-29', 1, 'Year', 'yyyy-MM-dd')") == "2023-02-28"


def test_dates_end_with_the_year_9999() -> None:
    assert "years 1 to 9999" in refused("@addDays('9999-12-31', 1)")
    assert "years 1 to 9999" in refused("@addToTime('0001-01-01', -1, 'Second')")


def test_capital_y_and_d_are_literals() -> None:
    assert ask("@formatDateTime('2026-03-04', 'YYYY-MM-DD')") == "YYYY-03-DD"


def test_percent_takes_one_letter_and_no_quote() -> None:
    assert ask("@formatDateTime('2026-03-01', '%dd')") == "11"
    assert ask("@formatDateTime('2026-03-01', '%yy')") == "2626"
    assert ask("@formatDateTime('2026-03-01', '%d')") == "1"
    assert "not a date format" in refused("@formatDateTime('2026-03-01', '%''x''')")
    assert "not a date format" in refused("@formatDateTime('2026-03-01', '%\\d')")


def test_trailing_fraction_drops_its_point_too() -> None:
    assert ask("@formatDateTime('2026-03-04T05:06:07Z', 'ss.FFF')") == "07"


@pytest.mark.parametrize(
    "zone", ["W. Europe Standard Time", "w. europe standard time", "Europe/Berlin", "europe/berlin"]
)
def test_zones_have_windows_names_and_iana_names(zone) -> None:
    assert ask(f"@convertFromUtc('2026-07-01T08:00:00Z', '{zone}')") == "2026-07-01T10:00:00.0000000"


def test_only_a_date_in_utc_is_converted_from_utc() -> None:
    assert "not in UTC" in refused("@convertFromUtc('2026-07-01T08:00:00', 'UTC')")
    assert "its own zone" in refused("@convertToUtc('2026-07-01T08:00:00Z', 'W. Europe Standard Time')")


def test_local_times_that_clocks_skip_or_repeat_are_refused() -> None:
    assert "never or twice" in refused("@convertToUtc('2026-03-29T02:30:00', 'W. Europe Standard Time')")
    assert "never or twice" in refused("@convertToUtc('2026-10-25T02:30:00', 'W. Europe Standard Time')")
    assert ask("@convertToUtc('2026-10-25T03:00:00', 'W. Europe Standard Time')") == "2026-10-25T02:00:00.0000000Z"


def test_unknown_zone_names_the_nearest_one() -> None:
    assert "did you mean 'W. Europe Standard Time'?" in refused(
        "@convertFromUtc('2026-07-01T08:00:00Z', 'W. Europe Standart Time')"
    )


def test_clock_of_the_scope_is_the_only_clock() -> None:
    assert ask("@utcNow()") == "2026-11-22T12:00:00.1234560Z"
    assert ask("@getPastTime(1, 'Day', 'yyyy-MM-dd')") == "2026-11-21"
    assert ask("@addHours('10:00', 1)") == "2026-11-22T11:00:00.0000000"


def test_binary_content_is_text_again_where_text_is_wanted() -> None:
    assert ask("@concat(base64ToBinary('YWJj'), 'd')") == "abcd"
    assert ask("@binary('a')") == {"$content-type": "application/octet-stream", "$content": "YQ=="}


def content(media: str) -> str:
    return f"""json('{{"$content-type":"{media}","$content":"PGEvPg=="}}')"""


@pytest.mark.parametrize("media", ["application/xml", "application/xml;charset=utf-8", "application/atom+xml"])
def test_xml_content_becomes_plain_bytes_in_binary_and_keeps_its_type_in_xml(media) -> None:
    assert ask(f"@binary({content(media)})") == {"$content-type": "application/octet-stream", "$content": "PGEvPg=="}
    assert ask(f"@xml({content(media)})") == {"$content-type": media, "$content": "PGEvPg=="}
    assert ask(f"@json({content(media)})") == {"a": None}


@pytest.mark.parametrize("media", ["text/xml", "image/svg+xml", "text/plain"])
def test_other_content_keeps_its_type_in_binary_and_is_no_xml_yet(media) -> None:
    assert ask(f"@binary({content(media)})") == {"$content-type": media, "$content": "PGEvPg=="}
    assert ask(f"@xml({content(media)})")["$content-type"] == "application/xml;charset=utf-8"
    assert "XML" in refused(f"@xpath({content(media)}, '/a')")


def test_content_types_that_are_malformed_are_refused() -> None:
    assert "not well-formed" in refused(f"@binary({content('bad')})")
    assert "not well-formed" in refused(f"@xml({content('bad')})")
    assert "'utf-16' is not supported" in refused(f"@binary({content('application/xml;charset=utf-16')})")


def test_content_is_read_by_its_character_set() -> None:
    assert ask("@string(dataUriToBinary('data:text/plain;charset=iso-8859-1;base64,6Q=='))") == "é"


def test_plus_is_a_blank_when_a_uri_component_is_decoded() -> None:
    assert ask("@decodeUriComponent('a+b%2B')") == "a b+"


def test_empty_elements_remember_how_they_were_written() -> None:
    assert ask("@string(xml('<a><b/><c></c> </a>'))") == "<a><b /><c></c></a>"


def test_found_elements_are_indented_and_take_their_namespaces_along() -> None:
    assert ask("@string(first(xpath(xml('<r xmlns=\"u\"><a><b/></a></r>'), '/*/*')))") == '<a xmlns="u">\n  <b />\n</a>'


def test_xml_becomes_json_by_name() -> None:
    assert ask("@json(xml('<r a=\"1\"><b>x</b><b/><c>y</c></r>'))") == {"r": {"@a": "1", "b": ["x", None], "c": "y"}}


def test_comments_are_left_out_of_json_except_that_several_leave_an_empty_list() -> None:
    assert ask("@json(xml('<a><!--x--></a>'))") == {"a": {}}
    assert ask("@json(xml('<!--x--><a/>'))") == {"a": None}
    assert ask("@json(xml('<a><!--x-->t<!--y--></a>'))") == {"a": {"#comment": [], "#text": "t"}}
    assert ask("@json(xml('<!--x--><!--y--><a/>'))") == {"#comment": [], "a": None}


def test_document_types_are_refused() -> None:
    assert "document type" in refused("@xml('<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>')")


def test_json_is_read_strictly() -> None:
    assert "strict" in _hint("@json('{a:1}')")
    assert ask('@json(\'{"a":1,"a":2}\')') == {"a": 2}
    assert ask("@json('')") is None


def _hint(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        ask(text)
    return caught.value.hint
