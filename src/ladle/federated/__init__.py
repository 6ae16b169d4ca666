"""Learning together without bringing the rows together: the clients, who comes to a round, what the server does.

`ladle.federate(task, clients)` trains; this room holds its values, which know nothing of models or devices. Read
`members.py` first (who has which rows), then `attendance.py` (who comes), `method.py` (what is done with the answers),
`privacy.py` (what they give away).
"""

from ladle.federated.attendance import Absence, Attendance
from ladle.federated.members import Members, by_class, dirichlet, even, members
from ladle.federated.method import FedAdam, FedAvg, FedProx, Method, Scaffold, method_named
from ladle.federated.privacy import Privacy
from ladle.federated.worth import worth

__all__ = [
    "Absence", "Attendance", "FedAdam", "FedAvg", "FedProx", "Members", "Method", "Privacy", "Scaffold", "by_class",
    "dirichlet", "even", "members", "method_named", "worth",
]  # fmt: skip
