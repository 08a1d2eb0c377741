"""Which deployment of a model takes a call, and when.

    selection     who may take it, in which order: tier, region, weight, key
    pool          the deployments of one model: takes a slot at one, or waits for one
    waiting       who waits for a slot; real time before batch
    standing      one deployment as this process knows it: all of the below together
    breaker       closed, open, half-open
    concurrency   how many calls at once, found out; `latency` compares how long they take
    rates         requests and tokens a minute
    budget        how many calls may be tried again
    statistics    what an operator asks about

Nothing here does I/O. Times are seconds of a monotonic clock, given by the caller.
"""
