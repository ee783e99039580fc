import pytest

import orchkit as ok


def greeting():
    wf = ok.Workflow("hello", input=str)

    @wf.step
    def greet(input: str) -> str: ...

    return wf


def world(error=0.3, **more):
    return ok.World(greet=ok.fake("Hello", latency=ok.dist.exponential(2.0), error=error, cost=0.01), **more)


def arms(wf=None):
    wf = wf or greeting()
    return {"plain": wf, "retry": wf.using(greet=ok.Retry(3))}


@pytest.fixture(scope="session")
def res():
    """Two arms, two plans of faults, two cases, 40 seeds."""
    faults = {"calm": None, "storm": ok.Faults(ok.faults.fail("greet", rate=0.4, after=1.0))}
    return ok.Experiment(arms(), inputs=["Dana", "Ines"], world=world(), faults=faults, seeds=40).run()
