"""The ledger: what each attempt and each exchange used and cost, written down once and never changed.

    entry       an outcome or a refusal → the fields that are kept
    spool       worker: an entry is a line in a file before the client has the end of its reply
    segments    writer: those files, read line by line and removed when they are booked
    columns     names of what is counted, and by what
    schema      the tables, for SQLite and for PostgreSQL
    periods     hours, days and months
    migrations  tables of earlier versions → those of this one
    money       amounts that databases add up exactly
    database    connections, transactions and the version of the tables
    sums        rows → sums by the hour, day and month
    booking     entries → rows and sums, each exactly once
    retention   what is older than it may be goes
    writer      the thread that does all this, and goes on when the database is away
    question    what people ask, as they write it
    report      answers from the sums
    invoice     a provider's export, compared with them

The workers import ``entry`` and ``spool`` alone: the database is the writer's, and so is SQLAlchemy.
"""
