"""What an answer says besides its rows: state, progress by department, errors, changes of the session.

Everything counts only what agents delivered, and nothing comes from inside a department.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from catalog.errors import CityError
from gateway.execution import Department, Effects, Execution, State

__all__ = ["effect_headers", "error_body", "failure", "state_of", "stats", "summary"]


def error_body(error: CityError) -> dict[str, Any]:
    """The protocol's `error`: no stack, nothing of a department's inside."""
    text = str(error)
    info = {"code": error.trino.code, "name": error.trino.name, "type": error.trino.kind}
    failure: dict[str, Any] = {
        "type": "io.trino.spi.TrinoException",
        "message": text,
        "suppressed": [],
        "stack": [],
        "errorInfo": info,
    }
    body: dict[str, Any] = {
        "message": text,
        "errorCode": error.trino.code,
        "errorName": error.trino.name,
        "errorType": error.trino.kind,
        "failureInfo": failure,
    }
    if error.location:
        where = {"lineNumber": error.location.line, "columnNumber": error.location.column}
        body["errorLocation"] = failure["errorLocation"] = where
    return body


def state_of(execution: Execution) -> State:
    """The state to show: once departments are at work a statement is no longer queued."""
    waiting = execution.state in (State.QUEUED, State.PLANNING)
    return State.RUNNING if waiting and execution.departments() else execution.state


def stats(execution: Execution, state: State | None = None) -> dict[str, Any]:
    """The protocol's `stats`, counting only what agents delivered; one stage a department."""
    state = state or state_of(execution)
    departments = execution.departments()
    elapsed = int(execution.seconds * 1000)
    counted = _splits(departments)
    done = state in (State.FINISHED, State.FAILED)
    found: dict[str, Any] = {
        "state": state.value,
        "queued": state is State.QUEUED,
        "scheduled": state not in (State.QUEUED, State.PLANNING),
        "nodes": len(departments),
        **counted,
        "planningTimeMillis": 0,
        "analysisTimeMillis": 0,
        "cpuTimeMillis": 0,
        "wallTimeMillis": elapsed,
        "queuedTimeMillis": 0,
        "elapsedTimeMillis": elapsed,
        "finishingTimeMillis": 0,
        "physicalInputTimeMillis": 0,
        "processedRows": sum(d.rows for d in departments),
        "processedBytes": sum(d.bytes for d in departments),
        "physicalInputBytes": 0,
        "physicalWrittenBytes": 0,
        "internalNetworkInputBytes": sum(d.bytes for d in departments),
        "peakMemoryBytes": 0,
        "spilledBytes": 0,
    }
    total = counted["totalSplits"]
    if done or total:
        percent = 100.0 if done else round(100.0 * counted["completedSplits"] / total, 1)
        found["progressPercentage"] = percent
        found["runningPercentage"] = 0.0 if done else 100.0 - percent
    if departments and not done:
        found["rootStage"] = _stage("merge", state.value, done, departments, map(_department, departments))
    return found


_ENDED = ("done", "kept", "refused", "down", "cancelled")


def _splits(departments: tuple[Department, ...]) -> dict[str, int]:
    def count(*states: str) -> int:
        return sum(max(1, d.fragments) for d in departments if d.state in states)

    return {
        "totalSplits": sum(max(1, d.fragments) for d in departments),
        "queuedSplits": count("queued"),
        "runningSplits": count("running"),
        "completedSplits": count(*_ENDED),
    }


def _department(department: Department) -> dict[str, Any]:
    states = {"queued": "PLANNED", "running": "RUNNING", "done": "FINISHED", "kept": "FINISHED", "cancelled": "ABORTED"}
    state = states.get(department.state, "FAILED")
    return _stage(department.name, state, department.state in _ENDED, (department,), ())


def _stage(name: str, state: str, done: bool, departments: tuple[Department, ...], below: Any) -> dict[str, Any]:
    return {
        "stageId": name,
        "state": state,
        "done": done,
        "nodes": 1,
        **_splits(departments),
        "cpuTimeMillis": 0,
        "wallTimeMillis": int(1000 * max((d.seconds for d in departments), default=0.0)),
        "processedRows": sum(d.rows for d in departments),
        "processedBytes": sum(d.bytes for d in departments),
        "physicalInputBytes": 0,
        "failedTasks": 0,
        "coordinatorOnly": False,
        "subStages": list(below),
    }


def effect_headers(effects: Effects) -> list[tuple[str, str]]:
    """The response headers by which a statement changes its client's session."""
    found: list[tuple[str, str]] = []
    if effects.set_catalog:
        found.append(("X-Trino-Set-Catalog", effects.set_catalog))
    if effects.set_schema:
        found.append(("X-Trino-Set-Schema", effects.set_schema))
    found += [("X-Trino-Set-Session", f"{k}={quote_plus(v)}") for k, v in effects.set_session]
    found += [("X-Trino-Clear-Session", name) for name in effects.clear_session]
    found += [("X-Trino-Added-Prepare", f"{quote_plus(k)}={quote_plus(v)}") for k, v in effects.added_prepare]
    found += [("X-Trino-Deallocated-Prepare", quote_plus(name)) for name in effects.deallocated_prepare]
    if effects.started_transaction:
        found.append(("X-Trino-Started-Transaction-Id", effects.started_transaction))
    if effects.clear_transaction:
        found.append(("X-Trino-Clear-Transaction-Id", "true"))
    if effects.set_role:
        catalog, _, role = effects.set_role.partition("=")
        found.append(("X-Trino-Set-Role", f"{catalog}={quote_plus(role)}"))
    if effects.reset_authorization:
        found.append(("X-Trino-Reset-Authorization-User", "true"))
    if effects.set_path:
        found.append(("X-Trino-Set-Path", quote_plus(effects.set_path)))
    return found


def summary(execution: Execution, base: str) -> dict[str, Any]:
    session = execution.session
    created = _moment(execution.created)
    return {
        "queryId": execution.query_id,
        "session": {
            "user": session.user,
            "principal": session.user,
            "source": session.source,
            "catalog": session.catalog,
            "schema": session.schema,
        },
        "state": state_of(execution).value,
        "scheduled": state_of(execution) not in (State.QUEUED, State.PLANNING),
        "self": f"{base}/v1/query/{execution.query_id}",
        "query": execution.sql,
        "queryStats": {
            "createTime": created,
            "endTime": _moment(execution.ended) if execution.ended else None,
            "elapsedTime": f"{execution.seconds:.2f}s",
            "executionTime": f"{execution.seconds:.2f}s",
            **stats(execution),
        },
        "departments": [
            {"name": d.name, "state": d.state, "rows": d.rows, "bytes": d.bytes, "seconds": d.seconds}
            for d in execution.departments()
        ],
    }


def failure(execution: Execution) -> dict[str, Any]:
    if execution.error is None:
        return {}
    body = error_body(execution.error)
    return {
        "failureInfo": body["failureInfo"],
        "errorType": body["errorType"],
        "errorCode": body["failureInfo"]["errorInfo"],
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
