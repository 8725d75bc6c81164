"""What is wrong with a database, and what one should know before trusting it.

    found = audit.audit("emodb", "EmoDB")
    print(audit.table(found))

All of it is listened to, nothing is built. What `prepare` would refuse is an error here; the rest may be as
it should, or a trap.
"""

from ser_jax.data.audit.findings import ERRORS, REMARKS, WARNINGS, Audit, Finding, audit
from ser_jax.data.audit.hearing import Heard
from ser_jax.data.audit.loudness import Separation
from ser_jax.data.audit.report import as_dict, table

__all__ = [
    "ERRORS", "REMARKS", "WARNINGS", "Audit", "Finding", "Heard", "Separation", "as_dict", "audit", "table",
]  # fmt: skip
