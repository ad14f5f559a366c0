"""The safety controls of a stream and the limits they hold to."""

from __future__ import annotations

from dataclasses import dataclass

from server.ladder import LadderSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """Each control of the frame path, on. Only tests switch one off: to prove that its test and
    the invariant checker notice. No configuration key and no command reaches these."""

    deadline: bool = True  # I1: raw at the deadline; off: waits for the engine
    press: bool = True  # I2: a bypass press acts on the next frame; off: only once engine is down
    stale_mark: bool = True  # I3: an old picture says so
    age_drop: bool = True  # I3: too old a picture never leaves
    card: bool = True  # I3, I11: signal-lost card when pictures stop
    order: bool = True  # I4: an older or repeated frame never leaves
    newest_wins: bool = True  # I5: one waiting frame a hop, besides the one in work; off: a queue
    account: bool = True  # I5: every lost frame is counted under a reason
    mark: bool = True  # I6: the mark is drawn from the provenance field; off: always drawn
    original: bool = True  # I7: the raw frame of every restored one is kept
    verbatim: bool = True  # I7: a raw payload leaves byte for byte; off: re-encoded
    guard: bool = True  # I8: a result that failed its check is never shown
    route: bool = True  # I9: a frame of another stream is dropped
    verified: bool = True  # I10: only an engine that verified in this process's life
    visible: bool = True  # I11: the header says why a frame is raw; off: no flags
    hysteresis: bool = True  # I12: raw until enough good frames in a row
    latch: bool = True  # I12: too many trips latch to raw
    side: bool = True  # I13: telling others never waits
    watchdog: bool = True  # I14: the watchdog is fed by emitted frames; off: by a timer
    restart: bool = True  # H7: a dead or hanging process is replaced


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Figures of SAFETY: stale_* of I3, good_frames, return_gap_s, trips of I12. late_allowance:
    single late frames a minute that pass as raw without a trip (two transitions each; with the
    trips this stays under 12 a minute). slack_ms: how late the operating system may run us before
    the checker calls it a violation."""

    stale_warn_ms: float = 100.0
    stale_stop_ms: float = 500.0
    good_frames: int = 60
    return_gap_s: float = 5.0
    trips: int = 3
    trip_window_s: float = 60.0
    late_allowance: int = 3
    hang_ms: float = 2000.0  # no answer for this long while frames wait: the engine is replaced
    warm_timeout_s: float = 300.0
    start_timeout_s: float = 60.0
    source_timeout_s: float = 3.0  # no frame for this long: the decoder is replaced
    watchdog_s: float = 3.0  # nothing emitted for this long: the stream process is replaced
    backoff_first_s: float = 0.25
    backoff_most_s: float = 8.0
    backoff_reset_s: float = 30.0  # alive this long: the next restart is prompt again
    ladder: LadderSettings = LadderSettings()
    probation_frames: int = 60  # a new engine that fails within these is rolled back
    original_s: float = 2.0
    original_bytes: int = 256 * 2**20
    max_width: int = 4096
    max_height: int = 4096
    max_pixels: int = 4096 * 2160
    max_streams: int = 16
    history_events: int = 50_000
    side_buffer_bytes: int = 2**20
    side_pending: int = 4000  # events kept while nobody reads; older ones become a gap
    slack_ms: float = 50.0

    @property
    def frame_bytes(self) -> int:
        """Of the largest frame, RGB; shared memory takes pages only once they are written."""
        return self.max_pixels * 3
