// The sound of the alarms, off until a person switches it on.

// Pulses in a burst and seconds between bursts, by priority.
const BURSTS = { high: [5, 4], medium: [3, 8], low: [1, 16] };
const PULSE_S = 0.15;
const GAP_S = 0.12;
const TONES_HZ = [660, 880]; // a fundamental and a partial, so that it carries over a fan

export class Sound {
  constructor(button) {
    this.button = button;
    this.context = null;
    this.timer = null;
    this.wanted = null;
    button.addEventListener("click", () => this.#toggle());
  }

  get on() {
    return this.context !== null;
  }

  set priority(priority) {
    this.wanted = priority;
    this.#restart();
  }

  #toggle() {
    if (this.on) {
      this.context.close();
      this.context = null;
    } else {
      this.context = new AudioContext();
      this.#pulse(0); // so that a person hears that it works
    }
    this.button.setAttribute("aria-pressed", String(this.on));
    this.button.querySelector(".text").textContent = this.on ? "Sound on" : "Sound off";
    this.#restart();
  }

  #restart() {
    clearInterval(this.timer);
    if (!this.on || this.wanted === null) return;
    const [pulses, seconds] = BURSTS[this.wanted];
    const burst = () => {
      for (let index = 0; index < pulses; index += 1) this.#pulse(index * (PULSE_S + GAP_S));
    };
    burst();
    this.timer = setInterval(burst, seconds * 1000);
  }

  #pulse(delayS) {
    const start = this.context.currentTime + delayS;
    const gain = this.context.createGain();
    gain.connect(this.context.destination);
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(0.25, start + 0.02); // no click
    gain.gain.setValueAtTime(0.25, start + PULSE_S - 0.03);
    gain.gain.linearRampToValueAtTime(0, start + PULSE_S);
    for (const tone of TONES_HZ) {
      const oscillator = this.context.createOscillator();
      oscillator.frequency.value = tone;
      oscillator.connect(gain);
      oscillator.start(start);
      oscillator.stop(start + PULSE_S);
    }
  }
}
