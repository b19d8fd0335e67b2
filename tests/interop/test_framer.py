"""MLLP framing: frames come out whole however the bytes were split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.framer import Framer, FrameTooLarge

MESSAGE = "MSH|^~\\&|HIS|H|||20260304||ADT^A04|1|P|2.5.1\rPID|1||7^^^H||合成\r".encode()
FRAME = b"\x0b" + MESSAGE + b"\x1c\r"


def frames(*pieces: bytes, cap: int = 10_000) -> list[bytes]:
    """What a framer makes of pieces."""
    framer = Framer(cap)
    return [made for piece in pieces for made in framer.feed(piece)]


def test_every_cut_of_a_frame_gives_the_message():
    """Two reads, cut at each byte offset, give the one message unchanged."""
    for at in range(len(FRAME) + 1):
        assert [MESSAGE] == frames(FRAME[:at], FRAME[at:]), at


def test_byte_by_byte_gives_every_message():
    """A sender that dribbles is understood."""
    assert [MESSAGE] * 2 == frames(*(bytes([b]) for b in FRAME * 2))


def test_several_frames_in_one_read_come_out_in_order():
    """Pipelined frames are cut apart."""
    one, two, three = (b"\x0b" + bytes([c]) * 5 + b"\x1c\r" for c in b"abc")
    assert [b"aaaaa", b"bbbbb", b"ccccc"] == frames(one + two + three)


def test_every_cut_of_two_frames_in_two_reads():
    """A read that ends anywhere in the second frame loses nothing."""
    both = FRAME + b"\x0bsecond\x1c\r"
    for at in range(len(both) + 1):
        assert [MESSAGE, b"second"] == frames(both[:at], both[at:]), at


def test_junk_before_the_start_block_is_skipped_and_counted():
    """Line noise, and a sender's stray keep-alive, do not hurt."""
    framer = Framer(1000)
    assert [b"ok"] == list(framer.feed(b"noise\r\n\x0bok\x1c\r"))
    assert 5 == framer.junk


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n"])
def test_a_missing_or_doubled_line_end_after_the_end_block_is_forgiven(between: bytes):
    """The end block ends a frame; what stands between frames is swallowed."""
    framer = Framer(1000)
    sent = b"\x0bone\x1c" + between + b"\x0btwo\x1c\r"
    assert ([b"one", b"two"], 0) == (list(framer.feed(sent)), framer.junk)


def test_a_start_block_inside_a_frame_gives_the_first_one_up():
    """A frame that was never ended gets no answer; the next one is whole."""
    framer = Framer(1000)
    assert [b"MSH|second"] == list(framer.feed(b"\x0bMSH|first, cut\x0bMSH|second\x1c\r"))
    assert 1 == framer.truncated


@pytest.mark.parametrize("opening", [b"MSH", b"FHS", b"BHS"])
def test_a_start_block_that_opens_nothing_is_text(opening: bytes):
    """Word processors end lines with it; given up, the message would come again for ever."""
    told = b"MSH|OBX|1|TX|||line\x0bof two\x0b\r"
    stream = b"\x0b" + told + b"\x1c\r\x0b" + told[:20] + b"\x0b" + opening + b"|2\x1c\r"
    for cut in range(len(stream)):
        assert [told, opening + b"|2"] == frames(stream[:cut], stream[cut:])


def test_a_frame_of_exactly_the_cap_passes():
    """The cap counts content bytes only."""
    assert [b"x" * 100] == frames(b"\x0b" + b"x" * 100 + b"\x1c\r", cap=100)


@pytest.mark.parametrize("ended", [b"", b"\x1c\r"])
def test_one_byte_over_the_cap_is_refused(ended: bytes):
    """Whether the end came or not: the connection cannot be trusted any more."""
    with pytest.raises(FrameTooLarge):
        frames(b"\x0b" + b"x" * 101 + ended, cap=100)


_CONTENT = st.binary(max_size=60).map(lambda b: b.replace(b"\x0b", b".").replace(b"\x1c", b","))


@given(messages=st.lists(_CONTENT, max_size=6), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_messages_in_any_cuts_come_out_unchanged(messages: list[bytes], cuts: list[int]):
    """Framing is a property of the bytes, not of the reads."""
    stream = b"".join(b"\x0b" + m + b"\x1c\r" for m in messages)
    at = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    assert messages == frames(*(stream[a:b] for a, b in pairwise(at)))


@given(
    st.lists(
        st.sampled_from(
            [b"\x0b", b"\x1c", b"\r", b"\n", b"a", b"bc", b"\x1c\r", b"MSH", b"\x0bMS", b"H|"]
        ),
        max_size=12,
    )
)
def test_a_read_gives_what_its_bytes_give_one_by_one(parts: list[bytes]):
    """A read that is one frame and nothing else goes a shorter way."""
    sent = b"".join(parts)
    told = []
    for pieces in ([sent], [bytes([byte]) for byte in sent]):
        framer = Framer(100)
        found = [made for piece in pieces for made in framer.feed(piece)]
        told.append((found, framer.inside, framer.held, framer.truncated, framer.junk))
    assert told[0] == told[1]


def test_the_cap_holds_for_a_frame_in_one_read():
    """To the byte."""
    assert [b"x" * 9] == frames(b"\x0b" + b"x" * 9 + b"\x1c\r", cap=9)
    with pytest.raises(FrameTooLarge):
        frames(b"\x0b" + b"x" * 10 + b"\x1c\r", cap=9)
