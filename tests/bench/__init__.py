"""What Kortex costs: the same calls straight to a provider, through Envoy alone and through Kortex, in one run.

    make bench                        # two minutes; ARGS=--quick for a first look
    make bench ARGS='--write README.md'

The provider is a process that sends fixed bytes, the load comes from a client that does as little as it can, and every
byte of every reply is compared: a wrong status or body ends the run. All paths take turns in short rounds, so that
whatever else the machine does falls on all of them alike. Of the rounds, medians are shown; what may be compared with
another machine are the ratios.

From the outside in: ``__main__`` → ``table`` → ``measure`` (rounds) and ``scaling`` → ``paths`` (what is started) →
``load`` and ``streams`` (the clients) → ``provider`` → ``wire`` (the bytes).
"""
