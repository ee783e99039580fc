import pytest
from experiment_arms import arms, world

import orchkit as ok


@pytest.fixture(scope="session")
def res():
    """Two arms, two plans of faults, two cases, 40 seeds."""
    faults = {"calm": None, "storm": ok.Faults(ok.faults.fail("greet", rate=0.4, after=1.0))}
    return ok.Experiment(arms(), inputs=["Dana", "Ines"], world=world(), faults=faults, seeds=40).run()
