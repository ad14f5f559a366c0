"""What a saved event history shows, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from server.invariants import Finding, check_file

SHOWN = 20  # violations listed in full


def examine_history(path: Path) -> Finding:
    """Raises SourceUnreadable for a file that is no history."""
    return check_file(path)


def sound(finding: Finding) -> bool:
    return not finding.violations


def lines(finding: Finding) -> list[str]:
    """For a terminal."""
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(finding.lost.items()))
    told = [
        f"{finding.events} events: {finding.came_in} frames in, {finding.left} out, "
        f"{sum(finding.lost.values())} dropped ({lost or 'none'}), {finding.in_flight} under way"
    ]
    if finding.gaps:
        told.append(f"{finding.gaps} gaps: what happened in them was not recorded or kept")
    rules = Counter(violation.rule for violation in finding.violations)
    if rules:
        told.append("violated: " + ", ".join(f"{rule} x{n}" for rule, n in sorted(rules.items())))
    told += [f"  {violation}" for violation in finding.violations[:SHOWN]]
    if len(finding.violations) > SHOWN:
        told.append(f"  and {len(finding.violations) - SHOWN} more")
    if not rules:
        told.append("no invariant is violated")
    return told


def to_json(finding: Finding) -> str:
    """For programs."""
    return json.dumps(
        {
            "events": finding.events,
            "frames_in": finding.came_in,
            "frames_out": finding.left,
            "dropped": finding.lost,
            "in_flight": finding.in_flight,
            "gaps": finding.gaps,
            "violations": [
                {
                    "rule": violation.rule,
                    "at_ns": violation.at_ns,
                    "epoch": violation.place[0],
                    "seq": violation.place[1],
                    "what": violation.what,
                }
                for violation in finding.violations
            ],
        }
    )
