"""aiosmtpd with everything that it has switched on: run_aiosmtpd.py CERTIFICATE KEY USER PASSWORD ROLE=PORT…"""
from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Discard:
    """Takes mail for peer.example, and from users for anybody, and keeps nothing."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        here = address.lower() == "postmaster" or address.lower().endswith("@peer.example")
        if not (here or session.authenticated):
            return "550 relay not permitted"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 discarded"


async def main(certificate: str, key: str, user: str, password: str, *ports: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=known, handled=False)

    loop = asyncio.get_running_loop()
    everything: dict[str, Any] = {
        "hostname": "mx.peer.example", "data_size_limit": 5_000_000, "enable_SMTPUTF8": True, "loop": loop,
        "tls_context": context, "authenticator": authenticate}
    others = {
        "smtp": {}, "insecure": {"auth_require_tls": False}, "submission": {"require_starttls": True,
        "auth_required": True}, "submissions": {"tls_context": None, "auth_require_tls": False, "auth_required": True},
        "lmtp": {}}
    for text in ports:
        role, _, port = text.partition("=")
        options = everything | others[role]
        kind = LMTP if role == "lmtp" else SMTP
        await loop.create_server(lambda kind=kind, options=options: kind(Discard(), **options),  # type: ignore[misc]
                                 "127.0.0.1", int(port), ssl=context if role == "submissions" else None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
