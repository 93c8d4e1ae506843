"""Measurements of golem_nb beside another SDK and a bare client: ``python -m benchmarks``.

The clients run as programs of their own, also with the interpreters of other environments, so nothing but
the standard library may be imported here.
"""
