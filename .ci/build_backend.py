"""setuptools, with a complete source distribution: tests, benchmarks and CI belong to it.

setuptools reads the list of further files from MANIFEST.in at the top level; ours is beside this module.
"""

from setuptools.build_meta import *  # noqa: F403 - the hooks of PEP 517 and PEP 660
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/MANIFEST.in"
