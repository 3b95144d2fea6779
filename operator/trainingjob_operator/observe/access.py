"""Whether Role and RoleBinding still let the trainer write its report; the operator may not change them."""

from collections.abc import Mapping
from typing import Any

from trainingjob_operator.names import Child, Owner, name_of

__all__ = ["access_problem"]

_VERBS = ("get", "patch")


def access_problem(owner: Owner, owned: Mapping[Child, dict[str, Any]]) -> str:
    """Return what was changed in a Role or RoleBinding that exists; empty if the trainer has its access."""
    role, binding = owned.get(Child.ROLE), owned.get(Child.ROLE_BINDING)
    changed = (
        Child.ROLE
        if role is not None and not _grants(role, name_of(owner, Child.REPORT))
        else Child.ROLE_BINDING
        if binding is not None and not _binds(binding, owner)
        else None
    )
    if changed is None:
        return ""
    return (
        f"{changed.kind} {name_of(owner, changed)} was changed and no longer lets the trainer get and patch "
        f"ConfigMap {name_of(owner, Child.REPORT)}: its reports are refused; delete the {changed.kind}, and "
        "the operator makes it again"
    )


def _grants(role: dict[str, Any], report: str) -> bool:
    rules = [rule for rule in role.get("rules") or [] if _covers(rule, report)]
    return all(any({verb, "*"} & set(rule.get("verbs") or []) for rule in rules) for verb in _VERBS)


def _covers(rule: dict[str, Any], report: str) -> bool:
    names = rule.get("resourceNames") or [report]
    return bool(
        {"", "*"} & set(rule.get("apiGroups") or [])
        and {Child.REPORT.plural, "*"} & set(rule.get("resources") or [])
        and report in names
    )


def _binds(binding: dict[str, Any], owner: Owner) -> bool:
    wanted = (Child.SERVICE_ACCOUNT.kind, name_of(owner, Child.SERVICE_ACCOUNT), owner.namespace)
    subjects = binding.get("subjects") or []
    # What it refers to cannot be changed.
    return any(
        tuple(subject.get(key) for key in ("kind", "name", "namespace")) == wanted for subject in subjects
    )
