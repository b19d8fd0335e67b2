"""Settings and site file: refused as a whole and with a sentence before anything starts."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from site_processes import ONCORD
from whole_line import SITE

from interop.errors import LedgerUnavailable
from workers.demo import stage
from workers.parts import build, open_database
from workers.settings import BadSettings, Settings
from workers.site_file import read


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """A process's environment."""
    return {"ONCORD_DATA_DIR": str(tmp_path / "data"), **more}


def test_the_defaults_are_embedded_and_on_loopback(tmp_path: Path):
    """No server, no open door."""
    made = Settings.from_environment(environment(tmp_path))
    assert ("127.0.0.1", 8080, 2575) == (made.host, made.http_port, made.mllp_port)
    assert made.database_url.startswith("sqlite:///")
    assert made.broker_url.startswith("sqla+sqlite:///")
    assert 0o700 == (tmp_path / "data").stat().st_mode & 0o777


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "hospital.example"])
def test_other_than_loopback_needs_tokens_and_a_loud_word(tmp_path: Path, host: str):
    """Either alone is refused (A13)."""
    open_ = environment(tmp_path, ONCORD_HOST=host)
    loud = {"ONCORD_ALLOW_PLAINTEXT_OFF_LOOPBACK": "yes"}
    for refused in (open_, open_ | {"ONCORD_API_TOKENS": "t"}, open_ | loud):
        with pytest.raises(BadSettings):
            Settings.from_environment(refused)
    assert host == Settings.from_environment(open_ | {"ONCORD_API_TOKENS": "t"} | loud).host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_neither(tmp_path: Path, host: str):
    """A laptop is a laptop."""
    assert host == Settings.from_environment(environment(tmp_path, ONCORD_HOST=host)).host


@pytest.mark.parametrize(
    "bad",
    [
        {"ONCORD_HTTP_PORT": "http"},
        {"ONCORD_MLLP_PORT": "70000"},
        {"ONCORD_HTTP_PORT": "-1"},
        {"ONCORD_HTTP_PORT": "²"},
        {"ONCORD_WORKER_MEMORY_MB": "4G"},
        {"ONCORD_WRITER": "1024"},
        {"ONCORD_WRITER": "first"},
        {"ONCORD_PROVIDER": "gpu"},
        {"ONCORD_LOG_FORMAT": "xml"},
    ],
)
def test_a_setting_that_is_none_is_refused(tmp_path: Path, bad: dict[str, str]):
    """With the setting's name."""
    with pytest.raises(BadSettings, match=next(iter(bad))):
        Settings.from_environment(environment(tmp_path, **bad))


def test_the_secret_is_made_once_and_kept(tmp_path: Path):
    """Result keys must be the same tomorrow; nobody else may read it."""
    one, two = (Settings.from_environment(environment(tmp_path)).secret for _ in range(2))
    assert one == two
    assert len(one) >= 32
    assert 0o600 == (tmp_path / "data" / "tenant.secret").stat().st_mode & 0o777


GOOD = SITE.format(ehr="http://127.0.0.1:1/fhir", pack="", strategy="")


def test_the_site_file_is_read(tmp_path: Path):
    """Interfaces, paths, packs and authorities by every name."""
    path = tmp_path / "site.toml"
    path.write_text(GOOD)
    site = read(path)
    assert ["his", "archive"] == [i.name for i in site.mllp]
    assert {"", "archive"} == set(site.stow)
    assert site.packs["liver_dx"].write_back
    canonical = "https://hospital.example/mrn"
    assert {canonical} == {site.sender("his").authorities[n] for n in ("DEMOHOSP", canonical)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "test"', "", "name is missing"),
        ('name = "test"', "name = 7", "another kind"),
        ('name = "test"', 'name = "test"\ncolour = "red"', "unknown key colour"),
        ("[fhir]", "[surprise]\nx = 1\n[fhir]", "unknown key surprise"),
        ('timezone = "Asia/Shanghai"', 'timezone = "Asia/Nowhere"', "timezone"),
        ('origin = "history"', 'origin = "ancient"', "origin"),
        ("write_back = true", 'write_back = "yes"', "another kind"),
        ("timeout_s = 5", "timeout_s = true", "another kind"),
        ("[ehr]", "[ehr", "site.toml"),
        ('"DEMOHOSP", ', '"DEMOHOSP", 7, ', "strings"),
        ('name = "archive"', 'name = "his"', "two doors have the name his"),
        ('name = "pacs"', 'name = "his"', "two doors have the name his"),
        ('name = "ehr-events"', 'name = "his"', "two doors have the name his"),
        ('path = "archive"', 'path = ""', "given twice"),
    ],
)
def test_a_site_file_gone_wrong_is_refused_with_a_sentence(
    tmp_path: Path, old: str, new: str, says: str
):
    """Validated as a whole, by key."""
    path = tmp_path / "site.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BadSettings, match=says):
        read(path)


def test_a_site_file_in_another_encoding_is_refused(tmp_path: Path):
    """As a Windows editor saves it."""
    path = tmp_path / "site.toml"
    path.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(BadSettings, match=r"site\.toml is not UTF-8"):
        read(path)


def test_an_array_of_tables_is_no_table(tmp_path: Path):
    """`mllp = [1]` is a sentence, no traceback."""
    path = tmp_path / "site.toml"
    path.write_text("stow = [1]\n" + GOOD.replace("[[stow]]", "[[stowed]]"))
    with pytest.raises(BadSettings, match=r"\[\[stow\]\]"):
        read(path)


def test_a_receivers_certificate_without_its_authority_is_refused(tmp_path: Path):
    """Results of patients would go in plain text although somebody laid certificates down."""
    path = tmp_path / "site.toml"
    oru = '[oru]\nhost = "h"\nport = 1\napplication = "A"\nfacility = "F"\ncertificate = "c"\n'
    path.write_text(GOOD.partition("[ehr]")[0] + oru)
    with pytest.raises(BadSettings, match="without ca"):
        read(path)


def test_a_name_of_two_authorities_is_refused(tmp_path: Path):
    """Patients would be mixed."""
    path = tmp_path / "site.toml"
    path.write_text(
        GOOD.replace("[[mllp]]", '"https://other.example" = ["DEMOHOSP"]\n\n[[mllp]]', 1)
    )
    with pytest.raises(BadSettings, match="two systems"):
        read(path)


def test_a_site_file_that_is_not_there_is_refused(tmp_path: Path):
    """By its name, not its path."""
    with pytest.raises(BadSettings, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_an_mllp_interface_is_read_key_by_key(tmp_path: Path):
    """Networks, senders, limits and certificates, and what may not be combined."""
    extra = """
peers = ["10.1.0.0/16"]
senders = ["HIS|HOSP"]
reused = "refuse"
wait_s = 20
most_per_peer = 7
first_byte_s = 2.5
tls.certificate = "c.pem"
tls.key = "k.pem"
tls.client_ca = "ca.pem"
tls.senders."his.example" = ["HIS|HOSP"]
"""
    file = tmp_path / "site.toml"
    plain = SITE.format(ehr="http://127.0.0.1:9", pack="", strategy="")
    file.write_text(plain.replace('name = "his"\n', f'name = "his"\n{extra}'))
    [his, archive] = read(file).mllp
    assert ("10.1.0.0/16", {"HIS|HOSP"}, "refuse", 20, 7, 2.5) == (
        str(his.peers[0]), his.senders, his.reused, his.wait_s, his.most_per_peer,
        his.first_byte_s,
    )  # fmt: skip
    assert his.tls is not None
    assert ("c.pem", {"his.example": {"HIS|HOSP"}}) == (str(his.tls.certificate), his.tls.senders)
    assert ((), None, None, 0) == (
        archive.peers, archive.senders, archive.tls, archive.wait_s,
    )  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        'peers = ["10.1.0.300"]',
        'reused = "ignore"',
        "wait_s = 61",
        "wait_s = -1",
        "wait_s = true",
        "wait_s = nan",
        'wait_s = 5\nanswers = "127.0.0.1:2575"',
        'tls.certificate = "c"\ntls.key = "k"\ntls.senders."a" = ["A|B"]',
        'tls.certificate = "c"',
        "cap_mb = 0",
        "cap_mb = -1",
        "in_flight = 0",
        "most_connections = 0",
        "frame_s = nan",
        "inter_byte_s = -1",
        "peers = [1]",
        "processing_ids = [7]",
        'senders = [["HIS|HOSP"]]',
        'answers = "127.0.0.1:99999"',
        'charset = "klingon"',
        'charset = "base64"',
        'timezone = "Mars/Olympus"',
    ],
)  # fmt: skip
def test_a_bad_mllp_interface_is_refused(tmp_path: Path, bad: str):
    """Before anything starts."""
    file = tmp_path / "site.toml"
    plain = SITE.format(ehr="http://127.0.0.1:9", pack="", strategy="")
    file.write_text(plain.replace('name = "his"\n', f'name = "his"\n{bad}\n'))
    with pytest.raises(BadSettings):
        read(file)


@pytest.mark.parametrize("url", ["nonsense", "mysql://127.0.0.1/oncord", "postgresql+nobody://x/y"])
def test_a_database_we_do_not_speak_to_is_refused(url: str):
    """By the setting's name; the URL may hold a password and is not told."""
    with pytest.raises(BadSettings, match="ONCORD_DATABASE_URL") as refused:
        open_database(url, migrate=False)
    assert url not in str(refused.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    """Not as the traceback of a library."""
    (tmp_path / "x.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(LedgerUnavailable, match="database: DatabaseError"):
        open_database(f"sqlite:///{tmp_path}/x.db", migrate=True)


def test_ports_beyond_the_last_are_refused(tmp_path: Path):
    """The second interface would get any port at all."""
    file = tmp_path / "site.toml"
    file.write_text(GOOD)
    settings = Settings.from_environment(
        environment(tmp_path, ONCORD_MLLP_PORT="65535", ONCORD_SITE_FILE=str(file))
    )
    with pytest.raises(BadSettings, match="2 interfaces end beyond 65535"):
        build(settings)


def ended(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*ONCORD, *words],
        capture_output=True,
        check=False,
        env={
            "ONCORD_DATA_DIR": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **environment,
        },
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize("door", ["HTTP", "MLLP"])
def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path, door: str):
    """And the service ends at once, with the status of what was found."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"ONCORD_HTTP_PORT": "0", "ONCORD_MLLP_PORT": "0"}
        ports[f"ONCORD_{door}_PORT"] = str(other.getsockname()[1])
        done = ended(tmp_path, "serve", ONCORD_SITE_FILE=str(stage.SITE), **ports)
    assert (1, "") == (done.returncode, done.stdout)
    told = [line for line in done.stderr.splitlines() if line.startswith("oncord: ")]
    assert 1 == len(told)
    assert "ddress already in use" in told[0]
    assert "Traceback" not in done.stderr


def test_a_worker_without_a_site_says_so_in_a_line(tmp_path: Path):
    """Before Celery starts children that cannot."""
    done = ended(tmp_path, "worker", "ledger", ONCORD_SITE_FILE=str(tmp_path / "none.toml"))
    assert (2, "") == (done.returncode, done.stdout)
    assert "oncord: site file none.toml cannot be read: No such file or directory\n" == done.stderr


def test_types_of_identifiers_are_of_the_site_and_of_one_interface(tmp_path: Path):
    """The interface's own line wins."""
    told = stage.SITE.read_text("utf-8")
    own = '[[mllp]]\nidentifier_types = { IDCard = "urn:b" }\n'
    types = '[identifier_types]\nIDCard = "urn:a"\nPatientNO = "urn:c"\n\n'
    file = tmp_path / "site.toml"
    file.write_text(types + told.replace("[[mllp]]\n", own), "utf-8")
    made = read(file)
    assert {"IDCard": "urn:b", "PatientNO": "urn:c"} == made.sender("his").identifier_types
    assert {"IDCard": "urn:a", "PatientNO": "urn:c"} == made.sender("pacs").identifier_types
    file.write_text(types.replace('"urn:c"', "7") + told, "utf-8")
    with pytest.raises(BadSettings, match="identifier_types: PatientNO is of another kind"):
        read(file)
