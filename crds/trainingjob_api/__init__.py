"""The contract of the TrainingJob operator: models of spec, status and report, and resolve().

Every module's ``__all__`` is public here, but for the generators of definition and reference.
"""

from trainingjob_api.acceptance import *
from trainingjob_api.errors import *
from trainingjob_api.job import *
from trainingjob_api.load import *
from trainingjob_api.pods import *
from trainingjob_api.reasons import *
from trainingjob_api.report import *
from trainingjob_api.resolve import *
from trainingjob_api.search_space import *
from trainingjob_api.spec import *
from trainingjob_api.status import *
from trainingjob_api.text import *
from trainingjob_api.types import *
from trainingjob_api.uris import *
from trainingjob_api.vocabulary import *
