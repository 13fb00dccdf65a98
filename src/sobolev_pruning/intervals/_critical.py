CRITICAL: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
