"""Kortex: an LLM gateway. Envoy moves the bytes; this package inspects, routes, translates and meters.

Where things are, outermost first; each layer imports only from those below it:

    cli            the command `kortex`, one file per verb
    selftest       what clients would see if providers failed: the real gateway in front of fakes
    server         where Envoy speaks to us: the ext_proc streams, workers, supervisor, reload, admin
    telemetry      metrics, traces and the access log
    ledger         what every request used and cost: spooled by the workers, booked in a database, reported
    credentials    secrets and short-lived tokens, got off the request path
    quota          counters shared by workers and hosts: the embedded store, Redis
    bootstrap      Envoy's configuration (pure) and its process
    exchange       the life of one request, as values: arrival, attempt, reply, verdict, outcome
    admission      may it proceed: who is calling, and what limits and budgets say
    routing        where to: what is known of the backends
    metering       what it uses and what it costs: tokens, prices, facts of models
    providers      whose API: one short file each, and the registry
    dialects       how requests and replies are written: one folder per wire format
    openai         the format clients speak
    framing        how bytes are cut: server-sent events, content encodings
    config         what operators write
    headers        header names and values
    errors         every error a client can be told about
    pb             messages generated from protos/
"""

__version__ = "0.1.0"
