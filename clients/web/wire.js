// The frame message of surgiclear.v1: its 48-byte header, its flags and its picture bytes.

export const HEADER_BYTES = 48;
const SIZE_BYTES = 4; // width and height, two u16, counted in the payload
const MAGIC = 0x5343;
const VERSION = 1;
const TYPE_FRAME = 1;

export const Flag = Object.freeze({
  RESTORED: 1,
  BYPASS: 2,
  LATE: 4,
  STALE: 8,
  GUARD: 16,
  CLEAR: 32,
  ENGINE_DOWN: 64,
  WARMING: 128,
  SHAPE: 256,
  CARD: 512, // not a camera picture: the server's signal-lost card
});

export const Codec = Object.freeze({ JPEG: 1, RGB24: 2, I420: 3 });

// Why a frame is raw. A frame that claims to be restored and carries one of these lies.
export const REASONS = Object.freeze([
  "BYPASS",
  "LATE",
  "GUARD",
  "CLEAR",
  "ENGINE_DOWN",
  "WARMING",
  "SHAPE",
]);

/** A message that is no frame, or one that contradicts itself; it is never shown. */
export class WireError extends Error {}

/** Bytes that a raw picture takes; null for a compressed codec. */
export function rawBytes(codec, width, height) {
  if (codec === Codec.RGB24) return 3 * width * height;
  if (codec === Codec.I420) {
    return width * height + 2 * Math.ceil(width / 2) * Math.ceil(height / 2);
  }
  return null;
}

/**
 * The frame in one binary message. Stamps in ms of the server's monotonic clock; seq a BigInt;
 * levels 0-3 each (the header saturates at 3); picture a view of the bytes. Throws WireError.
 */
export function parse(buffer) {
  if (buffer.byteLength < HEADER_BYTES + SIZE_BYTES) throw new WireError("message too short");
  const view = new DataView(buffer);
  if (view.getUint16(0, true) !== MAGIC) throw new WireError("not a surgiclear message");
  if (view.getUint8(2) !== VERSION) throw new WireError("unknown version");
  if (view.getUint8(3) !== TYPE_FRAME) throw new WireError("not a frame");
  const length = view.getUint32(44, true);
  if (length !== buffer.byteLength - HEADER_BYTES) throw new WireError("wrong payload length");
  const flags = view.getUint16(4, true);
  const reason = REASONS.find((name) => flags & Flag[name]) ?? null;
  if (flags & Flag.RESTORED && (reason || flags & Flag.CARD)) {
    throw new WireError("restored and raw at once");
  }
  const codec = view.getUint8(6);
  const width = view.getUint16(HEADER_BYTES, true);
  const height = view.getUint16(HEADER_BYTES + 2, true);
  const picture = new Uint8Array(buffer, HEADER_BYTES + SIZE_BYTES);
  const expected = rawBytes(codec, width, height);
  if (!Object.values(Codec).includes(codec)) throw new WireError("unknown codec");
  if (!width || !height || !picture.length) throw new WireError("empty picture");
  if (expected !== null && expected !== picture.length) throw new WireError("wrong picture size");
  const mask = view.getUint8(7);
  return {
    flags,
    reason,
    codec,
    levels: { smoke: mask & 3, fog: (mask >> 2) & 3, splash: (mask >> 4) & 3 },
    stream: view.getUint32(8, true),
    seq: view.getBigUint64(12, true),
    captureMs: milliseconds(view.getBigUint64(20, true)),
    inMs: milliseconds(view.getBigUint64(28, true)),
    outMs: milliseconds(view.getBigUint64(36, true)),
    width,
    height,
    picture,
  };
}

/** The seq of a message that is no sound frame, null where there is none: it is answered too. */
export function seqOf(buffer) {
  return buffer.byteLength < HEADER_BYTES ? null : new DataView(buffer).getBigUint64(12, true);
}

/** Nanoseconds as a BigInt to ms; a double keeps a microsecond over centuries of up-time. */
export function milliseconds(ns) {
  return Number(ns) / 1e6;
}
