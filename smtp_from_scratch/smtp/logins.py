"""AUTH with all mechanisms that there are, at both ends: loaded when a server has users, or a client is one."""

from __future__ import annotations

from collections.abc import Iterable

from smtp_from_scratch import auth
from smtp_from_scratch.auth import Auth, Users, log_in
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.oauth import OAuthBearer, Token, XOAuth2
from smtp_from_scratch.sasl import Mechanism
from smtp_from_scratch.scram import ScramSha256
from smtp_from_scratch.transaction import ClientSession

MECHANISMS: tuple[Mechanism, ...] = (ScramSha256(), *auth.MECHANISMS)           # the best first
TOKEN_MECHANISMS: tuple[Mechanism, ...] = (OAuthBearer(), XOAuth2())


def client_auth(user: str, password: str, token: Token, insecure: bool, mechanisms: Iterable[Mechanism] | None) -> Auth:
    """AUTH for a client; None: whatever mechanism is good for what is given."""
    if token:
        mechanisms = (OAuthBearer(token), XOAuth2(token))
    return Auth(user=user, password=password, insecure=insecure,
                mechanisms=MECHANISMS if mechanisms is None else mechanisms)


def server_auth(users: Users, required: bool, insecure: bool) -> Auth:
    """AUTH for a server."""
    return Auth(users, required=required, insecure=insecure, mechanisms=(*MECHANISMS, *TOKEN_MECHANISMS))


def logging_in(session: ClientSession, user: str, password: str, mechanisms: Iterable[Mechanism] | None,
               insecure: bool) -> Conversation[str]:
    """AUTH now, with its reply; returns the mechanism. None: the best one."""
    return log_in(session, user, password, MECHANISMS if mechanisms is None else mechanisms, insecure, pipelined=False)
