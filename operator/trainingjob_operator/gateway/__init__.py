"""The operator's only client of the API server: plain objects in and out, one kind of error."""

from trainingjob_operator.gateway.dask import DaskQuestion
from trainingjob_operator.gateway.jobs import Gateway
from trainingjob_operator.gateway.transport import connect

__all__ = ["DaskQuestion", "Gateway", "connect"]
