"""What `send` sends: files as they are, or a message made of a subject, a text and attachments."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import IO

from smtp_from_scratch.dsn import request
from smtp_from_scratch.envelope import Envelope, envelope_of
from smtp_from_scratch.message import OpenFile, header_of

Body = IO[bytes] | bytes

# What only one way to send needs is imported there: a file, with --from and --to, needs nothing of it.


def letters(options: argparse.Namespace, files: Iterable[IO[bytes]]) -> list[tuple[Envelope, Body]]:
    """Each message with its envelope. Raises OSError for what cannot be attached, ValueError for what is missing."""
    made = options.subject is not None or options.body is not None or bool(options.attach)
    if made and options.files:
        raise ValueError("a message from a file has its subject, text and attachments already: leave --subject, --body "
                         "and --attach out, or the file")
    if not made and not options.files:
        raise ValueError("nothing to send: name a FILE, or - for standard input, or say --subject and --body")
    if made:
        if options.sender == "":
            raise ValueError("a message that is made here has an author: --from names one (<> is for a FILE, such as a "
                             "report, that has its own header)")
        return [(envelope_for(options, None), composed(options))]
    return [(envelope_for(options, file), file) for file in map(rereadable, files)]


def envelope_for(options: argparse.Namespace, file: IO[bytes] | None) -> Envelope:
    """The envelope: from the options, else from the header of the message. Raises ValueError."""
    sender, recipients = options.sender, list(dict.fromkeys(options.recipients))
    if sender is None or not recipients:
        if file is None:
            raise ValueError("say --from and --to: this message is made of them")
        from email import policy
        from email.parser import BytesHeaderParser

        header = BytesHeaderParser(policy=policy.default).parsebytes(header_of(OpenFile(file)))
        if not recipients and any(header.get_all(name) for name in ("Bcc", "Resent-Bcc")):
            raise ValueError("the message has a Bcc field, which everybody would see: take it out, and name those by "
                             "--to")
        try:
            found = envelope_of(header)
        except ValueError as error:
            raise ValueError(f"{error}".replace("`sender`", "--from").replace("`recipients`", "--to")) from None
        sender = found.sender if sender is None else sender
        recipients = recipients or found.recipients
        if not recipients:
            raise ValueError("the message names nobody in To or Cc: say --to")
    orcpt = dict.fromkeys(recipients, options.orcpt) if options.orcpt else {}
    envelope = Envelope(sender, recipients)
    return request(envelope, ret=options.ret, envid=options.envid, notify=options.notify, orcpt=orcpt)


def composed(options: argparse.Namespace) -> bytes:
    """A message of a subject, a text and files. Raises OSError."""
    from email import policy
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid
    from pathlib import Path

    international = not all(address.isascii() for address in (options.sender, *options.recipients))
    message = EmailMessage(policy=policy.SMTPUTF8 if international else policy.SMTP)        # RFC 2047 §5 (3)
    message["From"], message["To"] = options.sender, ", ".join(dict.fromkeys(options.recipients))
    message["Subject"], message["Date"], message["Message-ID"] = options.subject or "", formatdate(), make_msgid()
    text = options.body or ""
    message.set_content(text if text.endswith("\n") or not text else text + "\n")
    for name in options.attach:
        message.add_attachment(Path(name).read_bytes(), *kind_of(name), filename=Path(name).name)
    return message.as_bytes()


def kind_of(name: str) -> list[str]:
    """Type and subtype of a file that is attached as it is, in base64.

    What is compressed is octets, whatever it becomes; messages may not be in base64 (RFC 2046 §5.2.1).
    """
    import mimetypes

    kind, coding = mimetypes.guess_type(name)
    plain = kind and not coding and not kind.startswith(("message/", "multipart/"))
    return (kind if kind and plain else "application/octet-stream").split("/")


def rereadable(file: IO[bytes]) -> IO[bytes]:
    """The file, or a copy of a stream that can be read only once."""
    if file.seekable():
        return file
    import shutil
    import tempfile

    copy: IO[bytes] = tempfile.TemporaryFile()
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy
