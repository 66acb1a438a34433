"""What tells whether examples are the same as earlier."""

import hashlib
from typing import Any

from bicoder.engine.arrays.masked import Masked
from bicoder.engine.arrays.portions import portions_of_examples


def fingerprint(*examples: Any) -> str:
    """SHA-256 of the numbers of some arrays, or of those that are there of each view of a dict; None has none."""
    digest = hashlib.sha256()
    for some in (some for some in examples if some is not None):
        for one in (some[view] for view in sorted(some)) if isinstance(some, dict) else [some]:
            told = one.digest() if hasattr(one, "digest") else None
            if told is not None:  # it knows what it holds, so that terabytes need not be read
                digest.update(told)
                continue
            for portion in portions_of_examples(one):
                known = [portion.values[portion.there > 0], portion.there] if isinstance(portion, Masked) else [portion]
                for array in known:
                    digest.update(array)
    return digest.hexdigest()
