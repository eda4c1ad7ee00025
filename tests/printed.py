"""Lines that commands print on stderr, without those of other packages."""


def own_lines(stderr: str) -> list[str]:
    """Returns the lines on stderr without a warning of Grain's, which it gives where jaxlib is older than 0.11."""
    return [line for line in stderr.splitlines() if not line.startswith("WARNING:absl:Grain multiprocess worker")]
