"""The `review` section: where the console listens, who may use it, and what it shows."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from safeguard_spark.config.fields import FilePath, Refs, Section
from safeguard_spark.policy.scalars import Share, Truth, Whole


class Role(StrEnum):
    """What a person may do in the console."""

    reviewer = "reviewer"
    author = "author"
    lead = "lead"


class ReviewConfig(Section):
    """The console in which people judge contents: docs/reviewing.md."""

    host: str = "127.0.0.1"
    """Address the console listens on. Another than this machine's own needs `review.user_header`"""
    port: Annotated[Whole, Field(ge=0, le=65535)] = 8765
    """Port; 0: any free one. Option `--port`"""
    user_header: str | None = None
    """Header in which a proxy names the signed-in user, for example `X-Forwarded-User`. Null: one user, the person who
    started the console, on this machine alone, with every role"""
    proxies: Refs = ("127.0.0.1",)
    """Addresses from which `review.user_header` is believed. Requests from any other are refused"""
    users: dict[str, Role] = Field(default_factory=dict)
    """Role of each user that the proxy names: `reviewer` (the queue), `author` (search, try, policies) or `lead`
    (everything). A user without a role is refused"""
    folder: FilePath | None = None
    """Folder on a local disk for leases, the journal of decisions, and the key of the pseudonyms; null: `_review` next
    to the tables, if these are in a local folder"""
    second_share: Share = 0.1
    """Share of the items that a second person judges without being told"""
    show_reasoning: Truth = False
    """Whether reviewers see the model's reasoning after their decision. Leads and authors do"""
