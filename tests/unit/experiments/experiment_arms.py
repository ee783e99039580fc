"""What the tests of experiments compare."""

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
