"""What programs may rely on: these names, members and arguments. Whoever takes one away breaks somebody's program."""
from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHANGED = ("is not what is promised: a new name is added to this list and to CHANGELOG.md; one that is gone, or has "
           "other arguments, breaks programs, and CHANGELOG.md says so")

MODULES = {
    "smtp_from_scratch": """
        AsyncClient Auth BinaryMime Chunking Client Dsn EightBitMime EnhancedStatusCodes Envelope Extension
        Maildir Passwords Pipelining Pop3Server Queue Receipt ReceivedMessage Relay Reply SMTPAuthenticationError
        SMTPConnectError SMTPDataError SMTPException SMTPHeloError SMTPNotSupportedError SMTPRecipientsRefused
        SMTPResponseException SMTPSenderRefused SMTPServerDisconnected SMTPTimeout Server Size SmtpUtf8 StartTLS
        Submission UserFile client_extensions deliver send_all server_extensions
    """,
    "smtp_from_scratch.compat": """
        LMTP SMTP SMTPAuthenticationError SMTPConnectError SMTPDataError SMTPException SMTPHeloError
        SMTPNotSupportedError SMTPRecipientsRefused SMTPResponseException SMTPSenderRefused
        SMTPServerDisconnected SMTP_SSL quoteaddr quotedata
    """,
    "smtp_from_scratch.testing": "FakeServer",
}
# Others are there, too, and may change.
MEMBERS = {
    "smtp_from_scratch.Client": """
        close connect docmd ehlo has_extn login noop offered quit rset send_all send_message send_messages sendmail
        starttls transact verify
    """,
    "smtp_from_scratch.AsyncClient": """
        close connect docmd ehlo has_extn login noop offered quit rset send_all send_message send_messages sendmail
        starttls transact verify
    """,
    "smtp_from_scratch.Server": "messages start stop wait_for",
    "smtp_from_scratch.Pop3Server": "start stop",
    "smtp_from_scratch.Receipt": "accepted done recipients refused refused_by reply sender unknown",
    "smtp_from_scratch.Reply": "code enhanced lines permanent positive temporary text",
    "smtp_from_scratch.Envelope": "hello options parameters peer protocol recipients sender user",
    "smtp_from_scratch.Queue": "attempt body close drop entries hurry next_due",
    "smtp_from_scratch.ReceivedMessage": "data envelope html message subject text",
    "smtp_from_scratch.Extension": "advertise after_hello check keyword parameters plan requires verbs",
    "smtp_from_scratch.SMTPException": "receipt receipts",
    "smtp_from_scratch.SMTPServerDisconnected": "receipt receipts reply",
    "smtp_from_scratch.testing.FakeServer": """
        assert_not_sent assert_sent ca_file calls clear context delay disconnect env greylist host messages
        port refuse sent start stop url
        wait_for
    """,
    "smtp_from_scratch.compat.SMTP": """
        auth auth_cram_md5 auth_login auth_plain close connect data docmd does_esmtp ehlo ehlo_or_helo_if_needed
        ehlo_resp expn getreply has_extn helo helo_resp help login mail noop putcmd quit rcpt rset send send_message
        sendmail set_debuglevel sock starttls verify vrfy
    """,
    "smtp_from_scratch.compat.LMTP": "answers",
}
ARGUMENTS = {
    "smtp_from_scratch.Client": """
        host= port= * local_hostname= timeout= tap= extensions= tls= implicit_tls= user= password= token=
        insecure_auth= source_address= debug= lmtp=
    """,
    "smtp_from_scratch.AsyncClient": """
        host= port= * local_hostname= timeout= tap= extensions= tls= implicit_tls= user= password= token=
        insecure_auth= source_address= debug= lmtp=
    """,
    "smtp_from_scratch.Server": """
        host= port= * deliver= hostname= accept_sender= accept_recipient= max_size= max_recipients= max_errors=
        max_idle_commands= max_refused= max_connections= max_connections_per_address= timeout= session_timeout=
        tap= extensions= submission= tls= implicit_tls= users= require_auth= insecure_auth= stage= lmtp=
    """,
    "smtp_from_scratch.send_all": "address messages * sessions= **options",
    "smtp_from_scratch.deliver": "address messages **options",
    "smtp_from_scratch.Reply": "code text= enhanced=",
    "smtp_from_scratch.Envelope": "sender= recipients= hello= peer= protocol= parameters= options= user=",
    "smtp_from_scratch.Maildir": "root hostname=",
    "smtp_from_scratch.Queue": "path hostname= * lifetime= wait= clock=",
    "smtp_from_scratch.Relay": "hostname resolver connect ourselves=",
    "smtp_from_scratch.UserFile": "path create=",
    "smtp_from_scratch.Passwords": "passwords",
    "smtp_from_scratch.Submission": "may_send=",
    "smtp_from_scratch.client_extensions": """
        * tls= require_tls= user= password= token= insecure_auth= eager= mechanisms= without=
    """,
    "smtp_from_scratch.server_extensions": "* tls= require_tls= users= require_auth= insecure_auth= without=",
    "smtp_from_scratch.Pop3Server": """
        root users host= port= * tls= implicit_tls= insecure_auth= domain= max_connections=
        max_connections_per_address= timeout= session_timeout= tap= stage=""",
    "smtp_from_scratch.testing.FakeServer": "* tls= implicit_tls= users= require_auth= max_size= without=",
    "smtp_from_scratch.compat.SMTP": "host= port= local_hostname= timeout= source_address=",
    "smtp_from_scratch.compat.SMTP_SSL": """
        host= port= local_hostname= keyfile= certfile= timeout= source_address= context=
    """,
    "smtp_from_scratch.compat.LMTP": "host= port= local_hostname= source_address= timeout=",
}


def members(name: str) -> set[str]:
    """The public members of a class, those of its ancestors included."""
    module, _, kind = name.rpartition(".")
    found = getattr(importlib.import_module(module), kind)
    fields = set(getattr(found, "__dataclass_fields__", ()))
    return {one for one in {*dir(found), *fields} if not one.startswith("_")} - set(dir(OSError))


def arguments(name: str) -> list[str]:
    """The arguments of a class or function; after `*` by name only, with `=` those that may be left out."""
    module, _, kind = name.rpartition(".")
    found, keyword = [], False
    for one in inspect.signature(getattr(importlib.import_module(module), kind)).parameters.values():
        if one.kind is one.KEYWORD_ONLY and not keyword:
            found.append("*")
            keyword = True
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        found.append(f"{stars}{one.name}" if one.default is one.empty else f"{one.name}=")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_these_names(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) == set(MODULES[name].split()), f"{name} {CHANGED}"
    assert all(hasattr(module, one) for one in module.__all__)


@pytest.mark.parametrize("name", MEMBERS)
def test_objects_have_these_members(name: str) -> None:
    missing = set(MEMBERS[name].split()) - members(name)
    assert not missing, f"{name}, without {missing}, {CHANGED}"


@pytest.mark.parametrize("name", ARGUMENTS)
def test_they_are_made_with_these_arguments(name: str) -> None:
    """In this order; new ones come last, and by name only."""
    assert arguments(name) == ARGUMENTS[name].split(), f"{name} {CHANGED}"


def test_the_fixtures_of_pytest_are_these() -> None:
    from smtp_from_scratch import pytest_plugin

    marked = {name for name, value in vars(pytest_plugin).items() if "fixture" in type(value).__name__.lower()
              or hasattr(value, "_pytestfixturefunction")}
    assert marked == {"smtp_server", "smtp_server_factory"}


# --- a bare Python -----------------------------------------------------------------------------------------------

BARE = """
import sys
sys.path.insert(0, sys.argv[1])
import smtp_from_scratch
for name in smtp_from_scratch.__all__:
    getattr(smtp_from_scratch, name)
from smtp_from_scratch import Client, Server, compat, testing
from smtp_from_scratch.__main__ import parser
letter = b"Subject: Mangoes\\r\\n\\r\\nThey are ripe.\\r\\n"
with Server() as server, Client(*server.address) as ours, compat.SMTP(*server.address) as theirs:
    assert ours.sendmail("ana@rio.example", "kenji@tokyo.example", letter).accepted
    assert theirs.sendmail("ana@rio.example", "kenji@tokyo.example", letter) == {}
assert len(server.messages) == 2 and parser().parse_args(["serve"])
loaded = {name.partition(".")[0] for name in sys.modules}
print(*loaded - set(sys.stdlib_module_names) - {"smtp_from_scratch", "__main__"})
"""


def test_it_runs_on_the_standard_library_alone() -> None:
    """Without anything that is installed: `-S` knows no site-packages, `-I` no environment."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", BARE, str(ROOT)], capture_output=True, text=True,
                          timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
