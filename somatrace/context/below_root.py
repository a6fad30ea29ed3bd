"""What a local root span learns from the spans below it: the name of its trace, and their tenants."""

from __future__ import annotations

from somatrace import semconv
from somatrace.context.tags import EMPTY, Tags


class BelowRoot:
    """The workflow and the tenants of the spans below a local root, kept while it is open.

    The first workflow names the trace. A root without a tenant shows the tenant below it. This is for reading
    and searching only: nothing inherits it, and no policy follows it.
    """

    # the defaults are those of the class, because one is made for each trace

    #: Tags with the workflow that names the trace, and the tenant whose work it is.
    workflow: Tags | None = None
    namer: str | None = None
    #: The only tenant below, or `semconv.SEVERAL_TENANTS`.
    tenant: str | None = None
    #: The trace's name, as the program has set it on a span, without what must not leave.
    name = ""
    #: The tags noted last: most spans below a root share them.
    noted: Tags | None = None
    _shown: tuple[Tags, str, Tags] | None = None

    def __init__(self, tags: Tags) -> None:
        if tags is not EMPTY:
            self._take_workflow(tags)

    def note(self, tags: Tags) -> None:
        """Note the tags of a span that starts below the root."""
        self.noted = tags
        if self.workflow is None:
            self._take_workflow(tags)
        tenant = tags.tenant
        if tenant is not None and tenant != self.tenant:
            self.tenant = tenant if self.tenant is None else semconv.SEVERAL_TENANTS

    def shown(self, own: Tags) -> Tags:
        """The root's `own` tags, with the tenant below it. Equal results are the same object."""
        tenant = self.tenant
        if tenant is None or tenant == own.tenant:
            return own
        if self._shown is None or self._shown[0] is not own or self._shown[1] != tenant:
            self._shown = own, tenant, own.binding(**{semconv.TENANT: tenant})
        return self._shown[2]

    def _take_workflow(self, tags: Tags) -> None:
        if semconv.WORKFLOW in tags.bound or semconv.WORKFLOW in tags.derived:
            self.workflow = tags
            self.namer = tags.tenant
