"""The build that is running."""

from importlib.metadata import version

VERSION = version("djinnbot")
