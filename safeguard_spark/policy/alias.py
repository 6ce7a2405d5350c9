"""Alias: the movable names of a policy's versions."""

from enum import StrEnum


class Alias(StrEnum):
    """The role of a published version: not yet in use, labelling a share next to the active one, or in use.

    `publish` sets the first two. Only a promotion moves `active`, after it has activated the version in the tables.
    """

    draft = "draft"
    shadow = "shadow"
    active = "active"
