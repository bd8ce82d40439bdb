"""Compiled models, kept by their ids: a version never changes, so what is kept is never wrong.

The names of an application's types and relations are numbers, which its plans and the graphs of its stores share as long as any of
them lives.
"""

from collections import OrderedDict
from weakref import WeakValueDictionary

from tenantry.access.graph import Names
from tenantry.access.plan import Plan, compile_model
from tenantry.access.schema import Store
from tenantry.access.stores import NoModel, model_of
from tenantry.access.system import SYSTEM_APPLICATION, system_model, system_plan
from tenantry.access.wire import decode_model
from tenantry.core.ids import ulid
from tenantry.journal import Journal

KEPT_BYTES = 16 << 20
"""Models in memory, by the size of their JSON; compiled, each is some times as large. The longest unused go first."""


class Models:
    """A node's compiled models. Owned by the event loop."""

    def __init__(self, journal: Journal, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._journal = journal
        self._most = kept_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[str, str], tuple[Plan, int]] = OrderedDict()
        self._names: WeakValueDictionary[str, Names] = WeakValueDictionary()

    def names(self, application: str) -> Names:
        """The names that the plans and graphs of an application share."""
        if application == SYSTEM_APPLICATION:
            return system_plan().names
        names = self._names.get(application)
        if names is None:
            names = self._names[application] = Names()
        return names

    def kept(self, store: Store, model: str = "") -> tuple[str, Plan] | None:
        """The id and the compiled form of the model that `plan` gives, if it is in memory.

        Raises:
            NoModel: the store has none yet.
        """
        version = model or store.model
        if not version:
            raise NoModel(f"No authorization models found for store '{ulid(store.id)}'")
        if (store.application, version) == (SYSTEM_APPLICATION, system_model()):
            return version, system_plan()
        place = (store.application, version)
        if place not in self._kept:
            return None
        self._kept.move_to_end(place)
        return version, self._kept[place][0]

    async def plan(self, store: Store, model: str = "") -> tuple[str, Plan]:
        """The id and the compiled form of a version of the store's model: the one it is pinned to, or the one that is named.

        Raises:
            NoModel: it has none yet.
            ModelNotFound: its application has no such version.
            ConditionsNotSupported: nothing is installed that could evaluate the model's conditions.
        """
        kept = self.kept(store, model)
        if kept is not None:
            return kept
        version = model or store.model
        row = await model_of(self._journal, store, version)
        plan = compile_model(decode_model(row.body), self.names(store.application))
        self._keep((store.application, version), plan, len(row.body))
        return version, plan

    def _keep(self, place: tuple[str, str], plan: Plan, size: int) -> None:
        if place in self._kept:
            return
        self._kept[place] = (plan, size)
        self._size += size
        while self._size > self._most and len(self._kept) > 1:
            _, (_, forgotten) = self._kept.popitem(last=False)
            self._size -= forgotten
