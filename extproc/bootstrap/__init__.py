"""Envoy's configuration, rendered from ours, and the Envoy process.

``render`` is the way in. It puts together what the other files make, each its own part of Envoy: ``edge`` (the listener
that clients reach), ``provider_listener`` (one per target), ``clusters``, ``processor`` (how both stages reach the
ext_proc workers), ``local_replies`` and ``trail_filter``, and ``overload``. All of those are pure. ``process`` and
``xds_files`` do what ``render`` may not: they run Envoy, and put the files in its place.
"""
