"""Learning from events as they come: each is judged before it is learnt, labels may be late, and drift is answered."""
