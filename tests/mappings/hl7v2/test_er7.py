"""The lossless reader: delimiters, line ends, escapes, charsets, and bytes that are no message."""

from __future__ import annotations

import pytest
from feeds import msh
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.errors import UnreadableMessage
from mappings.hl7v2.er7 import DELETE, parse

HEAD = msh()


def fields(body: str, *, head: str = HEAD, charset: str | None = None) -> list[str]:
    """The fields of the second segment."""
    return parse(f"{head}\r{body}\r".encode(), charset).segments[1].fields


def test_field_one_of_msh_is_the_separator() -> None:
    """MSH is numbered as HL7 numbers it."""
    header = parse(HEAD.encode()).segments[0]
    assert ("|", "^~\\&", "C1") == (header.field(1), header.field(2), header.field(10))


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends_of_every_kind_end_segments(end: str) -> None:
    """Files and feeds differ; the segments do not."""
    message = parse(end.join([HEAD, "PID|1", "PV1|1", ""]).encode())
    assert ["MSH", "PID", "PV1"] == [s.name for s in message.segments]


def test_a_line_end_inside_a_field_belongs_to_the_field() -> None:
    """A line without a segment name is the rest of the one before, and is counted."""
    message = parse(f"{HEAD}\rOBX|1|TX|A||first\rsecond line|||F\rPV1|1\r".encode())
    assert ("first\nsecond line", 1) == (message.segments[1].field(5), message.joined)


def test_any_delimiters_are_read() -> None:
    """MSH-1 and MSH-2 say what separates; nothing is assumed."""
    message = parse(b"MSH#*%!@#LAB\rPID#1##A*B%C*D@E\r")
    first, second = message.repetitions(message.segments[1].field(3))
    assert ["A", "B"] == message.components(first)
    assert ["D", "E"] == message.subcomponents(message.components(second)[1])


def test_five_encoding_characters_are_read() -> None:
    """v2.7 added the truncation character."""
    assert "#" == parse(b"MSH|^~\\&#|LAB\r").delimiters.truncation


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"line\.br\next", "line\nnext"),
        (r"two\.sp+2\down", "two\n\ndown"),
        (r"\H\bold\N\ plain", "bold plain"),
        (r"\X41E4BDA0\ ", "A你 "),
        (r"C:\temp\file", r"C:\temp\file"),
        (r"C:\temp\.br\x", "C:\\temp\nx"),
        (r"\Zab\ stays", r"\Zab\ stays"),
        (r"\Q\ stays", r"\Q\ stays"),
        (r"\XZZ\ stays", r"\XZZ\ stays"),
        ("end\\", "end\\"),
        ("\\", "\\"),
        (r"{\rtf1\ansi x}", r"{\rtf1\ansi x}"),
    ],
)
def test_escapes_are_resolved_and_unknown_ones_stay(sent: str, text: str) -> None:
    """A bare backslash never fails."""
    message = parse(f"{HEAD}\rNTE|1||{sent}\r".encode())
    assert text == message.unescape(message.segments[1].field(3))


def test_an_escaped_separator_does_not_separate() -> None:
    """Unescaping comes after splitting."""
    message = parse(f"{HEAD}\rOBX|1|CE|A\\S\\B^C\r".encode())
    assert ["A^B", "C"] == message.components(message.segments[1].field(3))


def test_a_delete_is_not_an_empty_field() -> None:
    """Two quotes delete, nothing changes nothing."""
    found = fields('PID|1|""||x')
    assert (DELETE, "") == (found[2], found[3])


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("~GB 18030-2000", "gb18030"),
        ("ASCII~GB18030", "gb18030"),
        ("gb2312", "gb18030"),
        ("BIG-5", "big5"),
    ],
)
def test_the_charset_of_msh_18_is_honoured(declared: str, codec: str) -> None:
    """Also as the second repetition after a default that is blank."""
    raw = f"{msh(f18=declared)}\rPID|1||||林^三\r".encode(codec)
    assert "林^三" == parse(raw).segments[1].field(5)


@pytest.mark.parametrize("part", [*range(1, 12), 13, 14, 15])
@pytest.mark.parametrize("written", ["8859/{}", "ISO 8859-{}", "ISO-8859-{}"])
def test_every_part_of_8859_is_honoured(part: int, written: str) -> None:
    """Table 0211 has no part 12; the letter 0xE1 is another one in each."""
    raw = f"{msh(f18=written.format(part))}\rPID|1||||".encode() + b"\xe1\r"
    assert bytes([0xE1]).decode(f"iso8859-{part}") == parse(raw).segments[1].field(5)


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("CP1250", "cp1250", "Żółć"),
        ("WINDOWS-1251", "cp1251", "Иванов"),
        ("windows-1253", "cp1253", "Γιώργος"),
        ("WIN1257", "cp1257", "Šķēle"),
        ("KOI8-R", "koi8_r", "Иванов"),
        ("TIS-620", "cp874", "สมชาย"),
        ("Shift_JIS", "cp932", "表田"),
        ("BIG-5", "big5hkscs", "陳碁堃"),
        ("8859/16", "iso8859-16", "Ștefan"),
    ],
)
def test_names_of_no_table_that_senders_use_are_known(declared: str, codec: str, name: str) -> None:
    """Code pages of Windows above all: read as 8859/1 they would be other letters."""
    message = parse(f"{msh(f18=declared)}\rPID|1||||{name}^x\r".encode(codec))
    assert (f"{name}^x", False) == (message.segments[1].field(5), message.undeclared)


@pytest.mark.parametrize(
    ("declared", "codec", "hospital"),
    [
        ("BIG5", "big5", "台大醫院"),
        ("ASCII~BIG-5", "big5", "台大醫院"),
        ("SHIFT-JIS", "cp932", "ポート病院"),
        ("GB18030", "gb18030", "億達醫院"),
        ("~ISO IR87", "iso2022_jp", "慈恵病院"),
    ],
)
def test_a_hospital_whose_letters_hold_bars_hides_no_charset(
    declared: str, codec: str, hospital: str
) -> None:
    """MSH-18 has to be found before MSH-4 can be read."""
    raw = f"{msh(f4=hospital, f18=declared)}\rPID|1||||林^x\r".encode(codec)
    assert b"|" in hospital.encode(codec)
    message = parse(raw)
    assert (hospital, "林^x") == (message.segments[0].field(4), message.segments[1].field(5))


def test_japanese_bytes_that_look_like_bars_do_not_separate() -> None:
    """ISO IR87 uses the bytes of delimiters inside its two-byte mode."""
    raw = f"{msh(f18='~ISO IR87')}\rPID|1||||山田^太郎\r".encode("iso2022_jp")
    assert "山田^太郎" == parse(raw).segments[1].field(5)


def test_chinese_trail_bytes_that_look_like_delimiters_do_not_separate() -> None:
    """GB 18030 has trail bytes 0x5C, 0x5E, 0x7C and 0x7E."""
    name = next(c for c in map(chr, range(0x4E00, 0x9FA5)) if c.encode("gb18030")[1:] == b"|")
    raw = f"{msh(f18='GB18030')}\rPID|1||||{name}^x\r".encode("gb18030")
    assert f"{name}^x" == parse(raw).segments[1].field(5)


def test_a_site_charset_overrules_msh_18() -> None:
    """Senders that declare ASCII and send GB 18030 are everyday."""
    raw = f"{msh(f18='ASCII')}\rPID|1||||张\r".encode("gb18030")
    assert "张" == parse(raw, "gb18030").segments[1].field(5)


def test_bytes_outside_the_declared_charset_are_marked() -> None:
    """The message is read, and says that it was damaged."""
    raw = f"{msh(f18='UNICODE UTF-8')}\rPID|1||||".encode() + b"\xff\r"
    message = parse(raw)
    assert (True, "\ufffd") == (message.damaged, message.segments[1].field(5))


@pytest.mark.parametrize(
    ("declared", "sent", "read", "codec"),
    [
        ("8859/1", "Dvořák".encode(), "Dvořák", "utf-8"),
        ("8859/1", "Dvoák".encode("latin-1"), "Dvoák", "iso8859-1"),
        ("8859/5", "Иванов".encode("iso8859-5"), "Иванов", "iso8859-5"),
        ("~ISO IR87", "病理部".encode(), "病理部", "utf-8"),
        ("GB18030", "王小明".encode(), "王小明", "utf-8"),
        ("GB18030", "王小明".encode("gb18030"), "王小明", "gb18030"),
    ],
)
def test_bytes_that_prove_to_be_utf_8_are_read_so_whatever_msh_18_says(
    declared: str, sent: bytes, read: str, codec: str
) -> None:
    """A charset that was put there once and never looked at again."""
    message = parse(msh(f18=declared).encode() + b"\rPID|||||" + sent + b"\r")
    assert (read, codec) == (message.segments[1].field(5), message.codec)
    assert (codec == "utf-8") == message.misdeclared
    assert not message.damaged


def test_a_site_charset_is_never_doubted() -> None:
    """Who set it has looked."""
    message = parse(f"{HEAD}\rPID|||||é\r".encode(), "latin-1")
    assert ("Ã©", False) == (message.segments[1].field(5), message.misdeclared)


@pytest.mark.parametrize("declared", ["~ISO IR87", "ASCII~ISO IR159", "8859/1~ISO IR14~ISO IR87"])
def test_the_japanese_sets_are_switched_to_by_their_own_escapes(declared: str) -> None:
    """JIS X 0208 and 0212 in one field, whichever repetition of MSH-18 names them."""
    raw = f"{msh(f18=declared)}\rPID|1||||".encode() + "山田 丂".encode("iso2022_jp_ext") + b"\r"
    assert "山田 丂" == parse(raw).segments[1].field(5)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"\M2442\;3ED\C2842\ Taro", "山田 Taro"),
        (r"\M2441\VP\C2842\ ", "中 "),
        (r"\M2442\;3E", r"\M2442\;3E"),
        (r"\Mars\ probe", r"\Mars\ probe"),
    ],
)
def test_a_shift_of_character_set_is_followed(sent: str, text: str) -> None:
    r"""`\M` and `\C` name a set of ISO 2022; half a character leaves the text as it was."""
    message = parse(f"{HEAD}\rNTE|1||{sent}\r".encode())
    assert text == message.unescape(message.segments[1].field(3))


def test_a_character_may_be_cut_between_two_hex_escapes() -> None:
    """Some senders escape byte by byte; the bytes are read in the message's charset."""
    message = parse(f"{msh(f18='GB18030')}\rNTE|1||\\XB8\\\\XCE\\\\X0D0A\\x\r".encode())
    assert "肝\nx" == message.unescape(message.segments[1].field(3))


def test_a_charset_of_no_table_is_marked() -> None:
    """And the bytes are read as what they prove to be."""
    message = parse(f"{msh(f18='KLINGON')}\rPID|1||||肝\r".encode())
    assert (True, "肝") == (message.undeclared, message.segments[1].field(5))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pid|1", "PID"),
        ("  PID|1", "PID"),
        ("\tPID|1", "PID"),
        ("ZDS12|1", "ZDS12"),
        ("PID", "PID"),
        ("PID|||", "PID"),
    ],
)
def test_a_segment_is_known_by_its_name(line: str, name: str) -> None:
    """In small letters, indented, with a long Z name, without fields."""
    assert ["MSH", name] == [s.name for s in parse(f"{HEAD}\r{line}\r".encode()).segments]


@pytest.mark.parametrize("line", ["患者男|x", "Long|x", "3.5|x", "see |x"])
def test_a_line_of_words_is_no_segment(line: str) -> None:
    """It belongs to the field before, whatever marks it holds."""
    message = parse(f"{HEAD}\rNTE|1||a\r{line}\r".encode())
    assert (["MSH", "NTE"], 1) == ([s.name for s in message.segments], message.joined)


@pytest.mark.parametrize("tail", [b"\x1c", b"\x1c\r", b"\0\0\0", b"\x1a", b"\r \r\n"])
def test_what_is_left_of_a_frame_is_no_content(tail: bytes) -> None:
    """Files cut out of a stream, and padded buffers."""
    message = parse(b"\x0b" + f"{HEAD}\rNTE|1||a\r".encode() + tail)
    assert ("a", 0, False) == (message.segments[1].field(3), message.joined, message.damaged)


def test_an_escape_character_doubled_in_msh_2_is_one() -> None:
    """Text that went through a program's source."""
    message = parse(b"MSH|^~\\\\&|LAB\rNTE|1||a\\T\\b\r")
    assert "a&b" == message.unescape(message.segments[1].field(3))


@pytest.mark.parametrize("marks", ["^~&", "^~ &", "~\\&"])
def test_a_mark_that_msh_2_lost_is_put_back(marks: str) -> None:
    """Programs that read a backslash as an escape send "^~&": & parts subcomponents."""
    body = "PID|||7^^^&1.2.3&ISO\rOBX|1|TX|A||a\\T\\b & CD4 T cells"
    message = parse(f"MSH|{marks}|LAB\r{body}\r".encode())
    identifier, text = message.segments[1].field(3), message.segments[2].field(5)
    assert ["", "1.2.3", "ISO"] == message.subcomponents(identifier.split("^")[3])
    assert "a&b & CD4 T cells" == message.unescape(text)


def test_marks_that_msh_2_left_out_mean_the_usual_ones() -> None:
    r"""`\T\` of a sender who never names a subcomponent mark."""
    message = parse(b"MSH|^~\\|LAB\rNTE|1||a\\T\\b\r")
    assert "a&b" == message.unescape(message.segments[1].field(3))


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (("A1", "A2"), "2 messages in one frame, MSH-10 A1, A2: "),
        (("A1", "", "A2"), "3 messages in one frame, MSH-10 A1, (none), A2: "),
        (("A1", "GEHEIM^NAME"), "2 messages in one frame, MSH-10 A1, (none): "),
        (tuple("ABCDEFG"), "7 messages in one frame, MSH-10 A, B, C, D, E, ...: "),
    ],
)
def test_two_messages_in_one_frame_are_refused(ids: tuple[str, ...], told: str) -> None:
    """Whose segments are whose, nobody can tell; which they were is told, and nothing more."""
    frame = "".join(f"{msh(f10=control)}\rPID|1\r" for control in ids)
    with pytest.raises(UnreadableMessage) as caught:
        parse(frame.encode())
    assert f"{told}nobody can tell which segments belong to which" == caught.value.reason


def test_many_line_ends_inside_one_field_cost_no_more_than_their_length() -> None:
    """A PDF in base64, wrapped: 1 MB of lines is joined once, not line by line."""
    lines = "\r".join(["QUJD" * 19] * 13_000)
    message = parse(f"{HEAD}\rOBX|1|ED|A||^^^Base64^{lines}\r".encode())
    assert (13_000 - 1, 2) == (message.joined, len(message.segments))


@pytest.mark.parametrize("sent", [b"a\0b", b"a\\X00\\b"])
def test_nul_is_replaced(sent: bytes) -> None:
    """No database stores it in text; the raw bytes keep it."""
    message = parse(HEAD.encode() + b"\rNTE|1||" + sent + b"\r")
    assert "a\ufffdb" == message.unescape(message.segments[1].field(3))


def test_the_received_bytes_are_kept() -> None:
    """Whatever was read, `raw` is what came."""
    raw = b"\xef\xbb\xbfMSH|^~\\&|A\r\nZZZ|\xff\r\n"
    assert raw == parse(raw).raw


@pytest.mark.parametrize(
    "raw",
    [b"", b"PID|1", b"MSH", b"MSHA", b"MSH|", b"MSH||A", b"MSH|^^|A", b"MSH|^~\\&#!?|A", b"\x00"],
)
def test_bytes_without_an_msh_are_unreadable(raw: bytes) -> None:
    """Only this is refused."""
    with pytest.raises(UnreadableMessage):
        parse(raw)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_read_or_unreadable(tail: bytes) -> None:
    """Nothing but UnreadableMessage ever leaves the reader."""
    for raw in (tail, b"MSH|^~\\&|" + tail):
        try:
            message = parse(raw)
        except UnreadableMessage:
            continue
        assert raw == message.raw
        for segment in message.segments:
            for text in segment.fields:
                for part in message.repetitions(text):
                    message.subcomponents(message.components(part)[0])


WORD = st.text(
    st.characters(blacklist_characters="\r\n|\0", blacklist_categories=["Cs"]), max_size=8
)


@given(st.lists(st.lists(WORD, max_size=6), max_size=5))
@settings(max_examples=80, deadline=None)
def test_segments_written_are_segments_read(rows: list[list[str]]) -> None:
    """Joining the fields again gives the text that came."""
    lines = ["|".join(["ZZ1", *row]) for row in rows]
    message = parse("\r".join([msh(f18="UNICODE UTF-8"), *lines, ""]).encode())
    assert lines == ["|".join(s.fields) for s in message.segments[1:]]
