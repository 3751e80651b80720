"""Former names of settings, and their present names."""

from collections.abc import Mapping

from predictor.errors import BadSetting
from predictor.settings.fields import flag_of, variable_of

RENAMED: Mapping[str, str] = {
    "canonical_interval": "canonical_interval_s",
    "drain_delay": "drain_delay_s",
    "drift_learn": "drift_learn_s",
    "drift_window": "drift_window_s",
    "grace_period": "grace_period_s",
    "poll_interval": "poll_interval_s",
}


def refuse_retired(flags: Mapping[str, object], environment: Mapping[str, str]) -> None:
    """Refuse the former name of a setting, with the present name in the message.

    Raises:
        BadSetting: a flag or a variable has a name that was retired.
    """
    for old, new in RENAMED.items():
        if old in flags:
            raise BadSetting(f"{flag_of(old)} was renamed: use {flag_of(new)}")
        if environment.get(variable_of(old), ""):
            raise BadSetting(f"{variable_of(old)} was renamed: use {variable_of(new)}")
