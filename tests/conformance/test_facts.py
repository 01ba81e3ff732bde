"""facts.json, which the command line reads, says of every network what the network itself says."""

import json

from keras_inception.analysis import described
from keras_inception.facts import facts
from keras_inception.registry import architectures


def test_every_network_has_its_facts():
    """In the registry's order."""
    assert list(facts()) == [a.name for a in architectures()], "`python -m docs.generate` renews them"


def test_facts(plan):
    known = facts()[plan.architecture.name]
    computed = json.loads(json.dumps(described(plan.architecture, plan.model)))
    assert known == computed, "`python -m docs.generate` renews the facts"
    assert known["trainable"] == plan.architecture.parameters or plan.architecture.parameters is None
    assert known["macs"] == plan.architecture.macs or plan.architecture.macs is None
