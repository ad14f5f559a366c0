// A frame's picture decoded into a bitmap: one at a time, the newest wins.

import { Codec } from "./wire.js";

/** An ImageBitmap of the frame's picture. Rejects for bytes that are no picture. */
export async function bitmapOf(frame) {
  const bitmap = await decoded(frame);
  if (bitmap.width !== frame.width || bitmap.height !== frame.height) {
    bitmap.close();
    throw new Error("the picture has another size than its header says");
  }
  return bitmap;
}

function decoded(frame) {
  if (frame.codec === Codec.JPEG) {
    const blob = new Blob([frame.picture], { type: "image/jpeg" });
    return createImageBitmap(blob, { colorSpaceConversion: "none" });
  }
  const { width, height } = frame;
  const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
  if (frame.codec === Codec.RGB24) fromRgb(frame.picture, rgba);
  else fromI420(frame.picture, rgba, width, height);
  return createImageBitmap(new ImageData(rgba, width, height));
}

function fromRgb(rgb, rgba) {
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from];
    rgba[to + 1] = rgb[from + 1];
    rgba[to + 2] = rgb[from + 2];
  }
}

// The wire's I420 is JFIF's: BT.601, full range (ITU-T T.871 clause 7).
function fromI420(planes, rgba, width, height) {
  const halfWidth = Math.ceil(width / 2);
  const u = width * height;
  const v = u + halfWidth * Math.ceil(height / 2);
  for (let row = 0, to = 0; row < height; row += 1) {
    const chromaRow = (row >> 1) * halfWidth;
    for (let column = 0; column < width; column += 1, to += 4) {
      const luma = planes[row * width + column];
      const blue = planes[u + chromaRow + (column >> 1)] - 128;
      const red = planes[v + chromaRow + (column >> 1)] - 128;
      rgba[to] = luma + 1.402 * red;
      rgba[to + 1] = luma - 0.344136 * blue - 0.714136 * red;
      rgba[to + 2] = luma + 1.772 * blue;
    }
  }
}

/** Decodes frames in order; while one is at work only the newest of the others waits. */
export class Decoder {
  /**
   * done(frame, bitmap) takes the bitmap over; failed(error) is told of each bad picture;
   * settled(frame) of every frame, once, whatever became of it.
   */
  constructor({ done, failed, settled }) {
    this.done = done;
    this.failed = failed;
    this.settled = settled;
    this.waiting = null;
    this.busy = false;
    this.skipped = 0;
  }

  push(frame) {
    if (this.waiting) {
      this.skipped += 1;
      this.settled(this.waiting);
    }
    this.waiting = frame;
    if (!this.busy) this.#work();
  }

  /** Forgets the waiting frame (another stream was chosen). */
  clear() {
    this.waiting = null;
  }

  async #work() {
    this.busy = true;
    while (this.waiting) {
      const frame = this.waiting;
      this.waiting = null;
      try {
        this.done(frame, await bitmapOf(frame));
      } catch (error) {
        this.failed(error);
      }
      this.settled(frame);
    }
    this.busy = false;
  }
}
