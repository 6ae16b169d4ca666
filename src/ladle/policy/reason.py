"""What a decision says of a noise scale: in words for its reason, in numbers for its inputs."""

from __future__ import annotations

import math

from ladle.core.noise import NoiseScale


def noise_text(noise: NoiseScale) -> str:
    """The noise scale in words, as reasons have it.

    >>> noise_text(NoiseScale(310.0, 240.0, 420.0, "resolved"))
    'noise scale 310 (240 to 420)'
    """
    if noise.verdict == "resolved":
        return f"noise scale {noise.value:.3g} ({noise.low:.3g} to {noise.high:.3g})"
    return f"noise scale at least {noise.low:.3g}" if noise.low > 0 else "noise scale unknown"


def noise_inputs(noise: NoiseScale) -> dict[str, float]:
    """What a decision records of a noise scale; nothing of what is not known."""
    if not noise.updates:
        return {}
    known = {"noise_scale": noise.value, "noise_scale_low": noise.low, "noise_scale_high": noise.high}
    known |= {"gradient_sq": noise.gradient_sq, "trace": noise.trace, "measured_updates": noise.updates}
    return {name: value for name, value in known.items() if math.isfinite(value)}
