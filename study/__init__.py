"""What compression does to adversarial robustness: sweeps of trained, attacked and measured networks on Ray.

`study.audit(net, data)` audits a trained net from Python (docs/audit.md); torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.sweep.audit import audit as audit

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "audit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study.sweep.audit import audit

    return audit
