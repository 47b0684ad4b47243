"""What the genuine PySyft 0.2.5 does, recorded, and the probe that asks it and us the same."""
