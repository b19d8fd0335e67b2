"""Who may send: addresses, certificates, names in MSH; and how long a silent one may stay."""

from __future__ import annotations

import socket
import ssl
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from doors import Open, message, msa

from interop.errors import Refused
from interop.tls import TlsFiles
from workers.demo.senders import MllpSender


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The hospital's own CA."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """Our certificate and the CA, as a site lays them down."""
    made = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_ca")}
    issued = authority.issue_cert("127.0.0.1")
    made["certificate"].write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made["key"]))
    authority.cert_pem.write_to_path(str(made["client_ca"]))
    return made


def ask(port: int, authority: trustme.CA, certificate: str | None, sent: bytes) -> bytes:
    """One message over TLS; everything that comes back."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority.configure_trust(context)
    if certificate is not None:
        authority.issue_cert(certificate).configure_cert(context)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as held,
    ):
        held.sendall(b"\x0b" + sent + b"\x1c\r")
        got = b""
        while not got.endswith(b"\x1c\r"):
            piece = held.recv(65536)
            if not piece:
                break
            got += piece
        return got.strip(b"\x0b\x1c\r")


def test_tls_carries_messages(open_door: Open, files: dict[str, Path], authority: trustme.CA):
    """TLS without client certificates: the sender knows whom it talks to."""
    del files["client_ca"]
    door = open_door(tls=TlsFiles(**files))
    assert ("AA", "1") == msa(ask(door.port, authority, None, message()))


def test_plain_text_is_not_taken_where_tls_is_asked(open_door: Open, files: dict[str, Path]):
    """No answer, nothing stored."""
    door = open_door(tls=TlsFiles(**files))
    with pytest.raises(OSError), MllpSender("127.0.0.1", door.port, timeout_s=5) as sender:
        sender.send(message())
    assert [] == door.rows()


def test_a_client_without_certificate_is_refused(
    open_door: Open,
    files: dict[str, Path],
    authority: trustme.CA,
):
    """Mutual TLS: the handshake fails, or the connection ends before an answer."""
    door = open_door(tls=TlsFiles(**files))
    with pytest.raises(OSError):
        assert not ask(door.port, authority, None, message())
        raise ConnectionResetError
    assert [] == door.rows()


def test_a_certificate_of_another_authority_is_refused(open_door: Open, files: dict[str, Path]):
    """Signed by nobody we know."""
    door = open_door(tls=TlsFiles(**files))
    stranger = trustme.CA()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stranger.issue_cert("his.example").configure_cert(context)
    with (
        pytest.raises(OSError),
        socket.create_connection(("127.0.0.1", door.port), 5) as plain,
        context.wrap_socket(plain) as held,
    ):
        held.sendall(b"\x0b" + message() + b"\x1c\r")
        if held.recv(100) == b"":
            raise ConnectionResetError
    assert [] == door.rows()


@pytest.mark.parametrize(
    ("certificate", "answered"),
    [("his.example", "AA"), ("lis.example", "AR"), ("ris.example", None)],
    ids=["speaks for it", "speaks for another", "speaks for nobody"],
)
def test_a_certificate_speaks_for_the_senders_it_is_bound_to(
    open_door: Open, files: dict[str, Path], authority: trustme.CA,
    certificate: str, answered: str | None,
):  # fmt: skip
    """MSH-3 and MSH-4 of a message against the names in its sender's certificate."""
    senders = {"his.example": frozenset({"HIS|HOSP"}), "lis.example": frozenset({"LIS|HOSP"})}
    door = open_door(tls=TlsFiles(**files, senders=senders))
    try:
        got = ask(door.port, authority, certificate, message())
    except OSError:
        got = b""
    assert answered == (msa(got)[0] if got else None)
    states = {"AA": [("received", "AA")], "AR": [("rejected", "AR")], None: []}
    assert states[answered] == [row[1:] for row in door.rows()]


def test_tls_files_that_are_not_there_are_said_at_the_start(tmp_path: Path):
    """Not at the first connection."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(Refused, match="TLS files"):
        TlsFiles(certificate=missing, key=missing).context()


def test_a_sender_the_site_does_not_name_is_rejected_and_kept(open_door: Open):
    """AR with the location MSH-3; its bytes stay."""
    door = open_door(senders=frozenset({"LIS|HOSP"}))
    [answer] = door.ask(message())
    assert ("AR", "1") == msa(answer)
    assert b"MSH^1^3" in answer
    assert [("rejected", "AR")] == [row[1:] for row in door.rows()]


@pytest.mark.parametrize(("network", "answer"), [("127.0.0.0/8", b"MSA|AA"), ("10.0.0.0/8", b"")])
def test_only_allowed_addresses_connect(open_door: Open, network: str, answer: bytes):
    """Others are closed before their first byte is read."""
    door = open_door(peers=(ip_network(network),), first_byte_s=0.3)
    try:
        got = door.raw(b"\x0b" + message() + b"\x1c\r", wait_s=5)
    except OSError:
        got = b""
    assert answer in got
    assert bool(answer) == bool(got)


def test_one_address_cannot_take_every_connection(open_door: Open):
    """Its connections are counted apart."""
    door = open_door(most_per_peer=1)
    with MllpSender("127.0.0.1", door.port) as first:
        first.send(message())
        assert b"" == door.raw(b"", close=False)
        assert ("AA", "2") == msa(first.send(message("2")))
    assert ("AA", "3") == msa(door.ask(message("3"))[0])


def test_a_connection_that_never_speaks_is_closed(open_door: Open):
    """One that spoke may be silent for as long as it likes."""
    door = open_door(first_byte_s=0.2)
    with MllpSender("127.0.0.1", door.port) as sender:
        sender.send(message())
        started = time.monotonic()
        assert b"" == door.raw(b"", close=False)
        assert 5 > time.monotonic() - started
        time.sleep(0.3)
        assert ("AA", "2") == msa(sender.send(message("2")))


def test_a_connection_that_speaks_another_protocol_is_closed(open_door: Open):
    """Bytes that begin no frame do not hold a connection: a port scanner, a browser."""
    door = open_door(first_byte_s=0.2)
    assert b"" == door.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", wait_s=5, close=False)
    assert [] == door.rows()
    assert [("AA", "1")] == [msa(answer) for answer in door.ask(message())]


@pytest.mark.parametrize(("tail", "code"), [("", "AE"), ("|||AL|NE", "CE")])
def test_a_reused_control_id_may_be_refused(open_door: Open, tail: str, code: str):
    """By site policy; kept and alarming all the same, and the refusal is repeated (table 4.1)."""
    door = open_door(reused="refuse")
    answers = door.ask(message(tail=tail), message(tail=tail, pid="8"), message(tail=tail, pid="8"))
    accepted = {"AE": "AA", "CE": "CA"}[code]
    assert [accepted, code, code] == [msa(a)[0] for a in answers]
    assert answers[1] == answers[2]
    assert [accepted, code] == [row[2] for row in door.rows()]
